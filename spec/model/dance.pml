/*
 * The dance between clients and the server: who owns a descriptor while it travels, and who waits for whom.
 *
 * The question: do the conversation's states and the rule "a descriptor has one owner at every moment" survive clients
 * that die, stall or send nonsense at every point, and sessions that expire at every moment? There are no bytes, labels,
 * properties and durations here: a list is one message, there is one label, and whatever time or a limit could decide is
 * decided both ways.
 *
 * States and rules: CONN, FD, ENDP, TTL and LIFE of the specification. The kernel's part (SCM_RIGHTS, close, EPIPE) is
 * unix(7): what lies unread in a socket whose reader is gone is closed.
 *
 * Wrong on purpose, each found by a run with -DBUG_…: LEAK_ON_DEATH, LEAK_PAIR, LEAK_REFUSED, DOUBLE_HANDOUT,
 * DOUBLE_CLOSE, EXPIRE_HELD, STALL, DEAF.
 */

#define CLIENTS 2
#define DESCRIPTORS 2
#define ALL 3 /* Sets of descriptors are bit masks: 1 and 2 hold one each, and less 1 they name it. */

mtype:list = { SAVE, FIND, DUMMY, OTHER }; /* what a client sends; OTHER also stands for the descriptor's byte */
mtype:reply = { GREETING, GO_ON, DONE, MALFORMED, FAILED, HIT, PASSED }; /* what the server sends; GO_ON is `dummy` */
mtype:state = { CLOSED, REQUEST, DESCRIPTOR, READY, SENDING, RECEIVED };

/* Two lists fit one way: a client may write "received" and its next request at once. One reply fits the other way, and
 * nothing is served while it is unread: that a descriptor in flight holds its client up (FD-14) is built in. */
chan to_server[CLIENTS] = [2] of { mtype:list, byte };
chan to_client[CLIENTS] = [1] of { mtype:reply, byte };

/* The server's memory. */
mtype:state state[CLIENTS] = CLOSED;
byte held[CLIENTS];
chan table = [DESCRIPTORS] of { byte };

/* The kernel's and the clients' side of a connection. */
bool alive[CLIENTS] = true;
bool calling[CLIENTS] = true; /* in the backlog: connect(2) was called and accept(2) was not */

/* Chosen once: a patient server never closes a client for its age. Nobody may need that closing to get on. */
bool patient;

/* Who owns each descriptor. The server never looks at it: it is there to be asserted. */
#define GONE 0
#define IN_TABLE 1
#define AT_CLIENT(c) (2 + (c))
#define TO_SERVER(c) (4 + (c))
#define IN_CONVERSATION(c) (6 + (c))
#define TO_CLIENT(c) (8 + (c))
byte owner[DESCRIPTORS] = AT_CLIENT(0);

hidden byte i; /* scratch of d_steps only */
hidden byte unread;

inline give(descriptor, giver, taker) {
  assert(owner[descriptor] == (giver));
  owner[descriptor] = (taker)
}

inline give_set(descriptors, giver, taker) {
  d_step {
    for (i : 0 .. DESCRIPTORS - 1) {
      if
      :: (descriptors) & (1 << i) -> give(i, giver, taker)
      :: else
      fi
    }
    i = 0
  }
}

/* The end of a client's process, however it came: the kernel closes what it had and what was on its way to it. */
inline leave(c) {
  d_step {
    alive[c] = false;
    do
    :: nempty(to_client[c]) -> to_client[c]?_, unread
    :: empty(to_client[c]) -> break
    od;
    for (i : 0 .. DESCRIPTORS - 1) {
      if
      :: owner[i] == AT_CLIENT(c) || owner[i] == TO_CLIENT(c) -> owner[i] = GONE
      :: else
      fi
    }
    i = 0;
    unread = 0
  }
}

/* ------------------------------------------------------------------------------------------------ the server */

inline respond(c, answer) {
  if
  :: alive[c] -> to_client[c]!answer, 0
  :: else /* EPIPE: its end of file is still to be read */
  fi
}

/* To the front of the queue: behind the others, who then go round once. */
inline put_back(c) {
  if
  :: true -> /* its time has not come */
     d_step {
       assert(!(table??[eval(held[c])]));
       give(held[c], IN_CONVERSATION(c), IN_TABLE);
       i = len(table);
       table!held[c];
       do
       :: i > 0 -> table?unread; table!unread; i--
       :: else -> break
       od;
       unread = 0
     }
  :: true -> give(held[c], IN_CONVERSATION(c), GONE)
  fi;
  held[c] = 0
}

/* close(2): the kernel closes the descriptors this client had sent and nobody read. */
inline hang_up(c) {
  d_step {
    state[c] = CLOSED;
    do
    :: nempty(to_server[c]) -> to_server[c]?_, unread
    :: empty(to_server[c]) -> break
    od;
    for (i : 0 .. DESCRIPTORS - 1) {
      if
      :: owner[i] == TO_SERVER(c) -> owner[i] = GONE
      :: else
      fi
    }
    i = 0;
    unread = 0
  }
}

inline close_client(c) {
  if
  :: state[c] == READY || state[c] == SENDING ->
#ifndef BUG_LEAK_ON_DEATH
     put_back(c)
#endif
  :: else
  fi;
  hang_up(c)
}

/* The byte after GO_ON, with whatever came on it. */
inline take_descriptor(c, cargo) {
  give_set(cargo, TO_SERVER(c), IN_CONVERSATION(c));
  state[c] = REQUEST;
  if
  :: cargo != 0 && cargo != ALL ->
     if
     :: true ->
        give(cargo - 1, IN_CONVERSATION(c), IN_TABLE);
        table!cargo - 1;
        respond(c, DONE)
     :: true -> /* a limit forbids it */
#ifndef BUG_LEAK_REFUSED
        give(cargo - 1, IN_CONVERSATION(c), GONE);
#endif
        respond(c, FAILED)
     fi
  :: else ->
#ifndef BUG_LEAK_PAIR
     give_set(cargo, IN_CONVERSATION(c), GONE);
#endif
     respond(c, FAILED)
  fi
}

inline serve_request(c, list) {
  if
  :: list == SAVE ->
     state[c] = DESCRIPTOR;
     respond(c, GO_ON)
#ifdef BUG_STALL
     ;
     if /* blocks */
     :: nempty(to_server[c]) -> to_server[c]?list, cargo; take_descriptor(c, cargo)
     :: empty(to_server[c]) && !alive[c]
     fi
#endif
  :: list == FIND && nempty(table) ->
#ifdef BUG_DOUBLE_HANDOUT
     table?<held[c]>;
#else
     table?held[c];
#endif
     give(held[c], IN_TABLE, IN_CONVERSATION(c));
     state[c] = READY;
     respond(c, HIT)
  :: list == FIND && empty(table) -> respond(c, FAILED)
  :: list == OTHER ->
     if
     :: true -> respond(c, MALFORMED)
     :: true /* empty, or its first attribute is not `request`: no reply */
     :: true -> hang_up(c) /* it grew too long */
     fi
  :: list == DUMMY /* its first attribute is not `request`: no reply */
  fi
}

inline send_descriptor(c) {
  if
  :: alive[c] ->
     give(held[c], IN_CONVERSATION(c), TO_CLIENT(c));
     to_client[c]!PASSED, (1 << held[c]);
     held[c] = 0;
     state[c] = RECEIVED
  :: else ->
#ifdef BUG_DOUBLE_CLOSE
     give(held[c], IN_CONVERSATION(c), GONE);
#endif
     put_back(c);
     hang_up(c)
  fi
}

/* Replies that wait to be taken hold up their own client only: it is not read until there is room again. */
#define ACCEPTABLE(c) (calling[c])
#define READABLE(c) (state[c] != CLOSED && state[c] != SENDING && nempty(to_server[c]) && nfull(to_client[c]))
#define SENDABLE(c) (state[c] == SENDING && (nfull(to_client[c]) || !alive[c]))
#ifdef BUG_DEAF
#define HUNG_UP(c) (state[c] == REQUEST && !alive[c] && empty(to_server[c]))
#else
#define HUNG_UP(c) (state[c] != CLOSED && !alive[c] && empty(to_server[c]))
#endif
#define OVERDUE(c) (!patient && state[c] != CLOSED && state[c] != REQUEST)
#define FINISHED(c) (!alive[c] && !calling[c] && state[c] == CLOSED)
#define FORGET d_step { c = 0; cargo = 0; list = 0 } /* leftovers would only make equal states look different */
#define SOME(CONDITION) if :: CONDITION(0) -> c = 0 :: CONDITION(1) -> c = 1 fi

active proctype server() {
  byte c, cargo;
  mtype:list list;

  if
  :: patient = true
  :: patient = false
  fi;

  /*
   * A turn is atomic. What can come in between is a client's death or its next list, and both look the same to the
   * server if they come a moment later: a reply to a dead client is lost before or after it is sent. Sending a
   * descriptor is a turn of its own, since a death between "ready" and the sending does make a difference.
   *
   * Resting at end_turn is right: whoever may not be left waiting stands at a label that is no end.
   */
end_turn:
  do
  :: atomic {
       SOME(ACCEPTABLE);
       calling[c] = false;
       state[c] = REQUEST;
       respond(c, GREETING);
       FORGET
     }

  :: atomic {
       SOME(READABLE);
       to_server[c]?list, cargo;
       if
       :: state[c] != DESCRIPTOR -> give_set(cargo, TO_SERVER(c), GONE); cargo = 0 /* a plain recv(2) */
       :: else
       fi;
       if
       :: state[c] == REQUEST -> serve_request(c, list)
       :: state[c] == DESCRIPTOR -> take_descriptor(c, cargo)
       :: state[c] == READY ->
          if
          :: list == DUMMY -> state[c] = SENDING
          :: else -> put_back(c); state[c] = REQUEST
          fi
       :: state[c] == RECEIVED -> state[c] = REQUEST
       fi;
       FORGET
     }

  :: atomic { SOME(SENDABLE); send_descriptor(c); FORGET }

  :: atomic { SOME(HUNG_UP); close_client(c); FORGET }

  :: atomic { SOME(OVERDUE); close_client(c); FORGET }

  :: atomic { /* any parked session may be due: their times to live differ */
       if
       :: table??[0] -> table??0; c = 0
       :: table??[1] -> table??1; c = 1
       fi;
       give(c, IN_TABLE, GONE);
       FORGET
     }

#ifdef BUG_EXPIRE_HELD
  :: atomic {
       if
       :: state[0] == READY -> c = 0
       :: state[1] == READY -> c = 1
       fi;
       give(held[c], IN_CONVERSATION(c), GONE);
       FORGET
     }
#endif

  :: FINISHED(0) && FINISHED(1) && empty(table) -> /* the idle exit */
     d_step {
       for (i : 0 .. DESCRIPTORS - 1) {
         assert(owner[i] == GONE)
       }
       i = 0
     }
     break
  od
}

/* ----------------------------------------------------------------------------------------------- the clients */

#define SENT_AWAY(c) (!calling[c] && state[c] == CLOSED && empty(to_client[c]))

inline say(c, list, cargo) {
  atomic {
    if
    :: state[c] != CLOSED && nfull(to_server[c]) ->
       give_set(cargo, AT_CLIENT(c), TO_SERVER(c));
       to_server[c]!list, cargo
    :: state[c] == CLOSED /* EPIPE: nothing left this process */
    fi
  }
}

inline hear(c, answer, cargo) {
  atomic {
    to_client[c]?answer, cargo;
    give_set(cargo, TO_CLIENT(c), AT_CLIENT(c))
  }
}

/* smtp(8): keeps to the protocol, and writes "received" and its next request without waiting in between. */
active proctype polite() {
  byte cargo;
  mtype:reply answer;

  {
    hear(0, answer, cargo);
    assert(answer == GREETING);
    do
    :: owner[0] == AT_CLIENT(0) || owner[1] == AT_CLIENT(0) ->
       say(0, SAVE, 0);
       hear(0, answer, cargo);
       assert(answer == GO_ON);
       atomic {
         if
         :: owner[0] == AT_CLIENT(0) -> cargo = 1
         :: owner[1] == AT_CLIENT(0) -> cargo = 2
         fi;
         say(0, OTHER, cargo);
         cargo = 0
       }
       hear(0, answer, cargo);
       assert(answer == DONE || answer == FAILED)
    :: say(0, FIND, 0);
       hear(0, answer, cargo);
       if
       :: answer == HIT ->
          say(0, DUMMY, 0);
          atomic { hear(0, answer, cargo); assert(answer == PASSED && cargo != 0); cargo = 0 }
          say(0, DUMMY, 0)
       :: else -> assert(answer == FAILED)
       fi
    :: true -> break
    od
  } unless {
    !alive[0] || SENT_AWAY(0)
  };
  leave(0)
}

/* kill -9 between any two steps of the polite client, or never. */
active proctype killer() {
  if
  :: true -> leave(0)
  :: true
  fi
}

/* Any client there can be: sends any list with any descriptors at any time, reads or does not, stalls, dies.
 * One list at a time: what a second one in the queue adds is what the polite client does. */
active proctype chaotic() {
  byte cargo;

  {
    do
    :: atomic {
         empty(to_server[1]) ->
         if
         :: true -> cargo = 0
         :: owner[0] == AT_CLIENT(1) -> cargo = 1
         :: owner[1] == AT_CLIENT(1) -> cargo = 2
         :: owner[0] == AT_CLIENT(1) && owner[1] == AT_CLIENT(1) -> cargo = ALL
         fi;
         if
         :: say(1, SAVE, cargo)
         :: say(1, FIND, cargo)
         :: say(1, DUMMY, cargo)
         :: say(1, OTHER, cargo)
         fi;
         cargo = 0
       }
    :: atomic { hear(1, _, cargo); cargo = 0 }
    :: true -> break
    :: true ->
end_asleep:
       false
    od
  } unless {
    SENT_AWAY(1)
  };
  leave(1)
}

/*
 * Wakes when nobody else can move. What the server remembers and who owns what must then be the same thing seen from
 * two sides, and the server must have noticed every death. Clients that wait for an answer in such a state are found
 * by Spin itself: they stand at no label that begins with `end`.
 */
active proctype auditor() {
end_audit:
  timeout ->
  d_step {
    for (i : 0 .. DESCRIPTORS - 1) {
      assert((owner[i] == IN_TABLE) == (table??[eval(i)]));
      assert(owner[i] != IN_CONVERSATION(0) || ((state[0] == READY || state[0] == SENDING) && held[0] == i));
      assert(owner[i] != IN_CONVERSATION(1) || ((state[1] == READY || state[1] == SENDING) && held[1] == i))
    }
    for (i : 0 .. CLIENTS - 1) {
      assert(alive[i] || FINISHED(i))
    }
    i = 0
  }
}
