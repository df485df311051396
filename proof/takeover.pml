/*
 * The takeover of proof/TAKEOVER.md: an old process passes its sessions to a new one, and either may die at any step.
 *
 * The question: is at every instant at most one of the two handing out, does everybody alive get on, and is nothing lost
 * but what the table says? Two sessions, two attempts, one process each; what a clock could decide is decided both ways.
 *
 * Wrong on purpose, each found by a run with -DBUG_…: OFFER_EARLY, GO_ON_UNASKED, TAKE_UNASKED, SERVE_FROZEN, SEND_HELD,
 * EMPTY_UNASKED, SERVE_ON, WAIT_FOR_EVER, CLOSE_EARLY.
 */

#define SESSIONS 2
#define ALL 3
#define ATTEMPTS 2
#define BIT(s) (1 << (s))

mtype = { COPY, ACKNOWLEDGED, PUT_BACK };
mtype:phase = { SERVING, FROZEN, OFFERED, ENDING, ENDED, ABSENT, RECEIVING, IN_CHARGE, GONE, DEAD };

chan to_new = [1] of { mtype, byte };
chan to_old = [1] of { mtype };

mtype:phase old = SERVING;
mtype:phase new = ABSENT;
byte attempt; /* which one this is */
bool closed = true; /* the old process closed this attempt's control socket, or has not opened it yet */
bit token[ATTEMPTS]; /* the eventfd of each attempt: 1 while the right lies there to be taken */

/* Sets of sessions. */
byte old_has = ALL;
byte held; /* found by a client of the old process, the hand-over has begun */
byte new_has;
byte handed;
byte lost; /* as the table says */
byte acknowledged;

hidden byte in_socket; /* scratch */

inline hand_out(s) {
  assert(!(handed & BIT(s)));
  handed = handed | BIT(s)
}

/* What of the sessions lies in the control socket: a copy, or what was put back. */
inline look_into_socket() {
  in_socket = 0;
  if
  :: to_new?[COPY, 0] || to_new?[PUT_BACK, 0] -> in_socket = 1
  :: to_new?[COPY, 1] || to_new?[PUT_BACK, 1] -> in_socket = 2
  :: else
  fi
}

/* ----------------------------------------------------------------------------------------- the old process */

/* A hand-over that has begun ends in every phase; only putting back has its times. */
inline finish_hand_over(s) {
  atomic {
    (held & BIT(s)) ->
    if
    :: hand_out(s); old_has = old_has & ~BIT(s); held = held & ~BIT(s)
    :: old == SERVING || old == FROZEN -> held = held & ~BIT(s)
    :: old == ENDING && nfull(to_new) && new == IN_CHARGE ->
       held = held & ~BIT(s);
       old_has = old_has & ~BIT(s);
       to_new!PUT_BACK, s
    :: old == ENDING && new != IN_CHARGE -> /* EPIPE: closed */
       held = held & ~BIT(s);
       old_has = old_has & ~BIT(s);
       lost = lost | BIT(s)
    fi
  }
}

inline find(s) {
  atomic {
    (old_has & BIT(s)) && !(held & BIT(s)) ->
    assert(new != IN_CHARGE);
    held = held | BIT(s)
  }
}

#ifdef BUG_SEND_HELD
#define TO_SEND(s) ((old_has & BIT(s)) && !(acknowledged & BIT(s)))
#else
#define TO_SEND(s) ((old_has & BIT(s)) && !(held & BIT(s)) && !(acknowledged & BIT(s)))
#endif

inline send_copy(s) {
  TO_SEND(s) && new == RECEIVING -> to_new!COPY, s;
  if
  :: to_old?ACKNOWLEDGED -> acknowledged = acknowledged | BIT(s)
  :: goto go_on /* it is slow, or dead */
  fi
}

active proctype old_process() {
  {
end_serving:
    do
    :: find(0)
    :: find(1)
    :: finish_hand_over(0)
    :: finish_hand_over(1)
    :: atomic { new == RECEIVING && closed && attempt < ATTEMPTS && acknowledged == 0 -> closed = false; old = FROZEN; break }
    od;

    do
    :: send_copy(0)
    :: send_copy(1)
    :: finish_hand_over(0)
    :: finish_hand_over(1)
#ifdef BUG_SERVE_FROZEN
    :: find(0)
#endif
    :: new != RECEIVING -> goto go_on
    :: goto go_on /* time is up */
#ifdef BUG_OFFER_EARLY
    :: atomic { acknowledged != 0 -> token[attempt] = 1; old = OFFERED; break }
#else
    :: atomic { !TO_SEND(0) && !TO_SEND(1) -> token[attempt] = 1; old = OFFERED; break }
#endif
    od;

#ifdef BUG_CLOSE_EARLY
    old_has = held;
#endif
    do
    :: finish_hand_over(0)
    :: finish_hand_over(1)
#ifndef BUG_WAIT_FOR_EVER
    :: atomic { /* time is up, or the new process is dead: one read of the eventfd */
         if
         :: token[attempt] == 1 -> token[attempt] = 0; goto go_on
#ifdef BUG_GO_ON_UNASKED
         :: token[attempt] == 0 -> goto go_on
#else
         :: token[attempt] == 0 -> break
#endif
         fi
       }
#else
    :: new == IN_CHARGE -> break
#endif
    od;

#ifdef BUG_SERVE_ON
    goto go_on;
#endif
    atomic { old = ENDING; old_has = held }
    do
    :: finish_hand_over(0)
    :: finish_hand_over(1)
    :: held == 0 -> break
    od;
    old = ENDED;
    goto done;

go_on:
    atomic { old = SERVING; closed = true; acknowledged = ALL } /* ALL: this attempt is over */
    goto end_serving
  } unless {
    old == DEAD
  };
done:
  skip
}

/* ----------------------------------------------------------------------------------------- the new process */

inline close_everything() {
  new_has = 0;
  drain_socket()
}

inline drain_socket() {
  do
  :: nempty(to_new) -> to_new?_, _
  :: nempty(to_old) -> to_old?_
  :: empty(to_new) && empty(to_old) -> break
  od
}

active proctype new_process() {
  byte s;

end_absent:
  {
    atomic { old == SERVING -> new = RECEIVING }
    do
    :: atomic { to_new?COPY, s -> new_has = new_has | BIT(s); to_old!ACKNOWLEDGED; s = 0 }
#ifdef BUG_TAKE_UNASKED
    :: atomic { old == OFFERED -> token[attempt] = 0; new = IN_CHARGE; break }
#endif
    :: atomic { token[attempt] == 1 -> token[attempt] = 0; new = IN_CHARGE; break }
#ifdef BUG_EMPTY_UNASKED
    :: atomic { closed && acknowledged == ALL -> d_step { close_everything() }; new = IN_CHARGE; break }
#endif
    :: old == DEAD -> /* known by its pidfd, before the eventfd is read */
       atomic {
         if
         :: token[attempt] == 1 -> token[attempt] = 0; new = IN_CHARGE
         :: token[attempt] == 0 -> d_step { close_everything() }; new = IN_CHARGE
         fi;
         break
       }
    :: atomic { closed && acknowledged == ALL -> new = GONE; goto give_up } /* end of file on the control socket */
    :: atomic { old != DEAD && token[attempt] == 0 -> new = GONE; goto give_up } /* whatever went wrong */
    od;

end_in_charge:
    do
    :: atomic { to_new?PUT_BACK, s -> new_has = new_has | BIT(s); s = 0 }
    :: atomic { new_has & 1 -> assert(old != SERVING && old != FROZEN); hand_out(0); new_has = new_has & ~1 }
    :: atomic { new_has & 2 -> assert(old != SERVING && old != FROZEN); hand_out(1); new_has = new_has & ~2 }
    od;

give_up:
    atomic { close_everything() }
  } unless {
    new == DEAD
  };
  /* Somebody starts another one, if the old one serves. */
  if
  :: atomic { old == SERVING && attempt + 1 < ATTEMPTS && (new == GONE || new == DEAD) && closed ->
       d_step { drain_socket() }; attempt++; acknowledged = 0; new = ABSENT; s = 0 } -> goto end_absent
  :: old == DEAD || old == ENDED
  :: attempt + 1 == ATTEMPTS
  fi
}

/* ------------------------------------------------------------------------------------------------- death */

/* kill -9 of the old process between any two steps, or never. The table says what is lost then. */
active proctype death_of_old() {
  if
  :: atomic {
       old != ENDED ->
       if
       :: new == IN_CHARGE || (token[attempt] == 1 && new == RECEIVING) -> lost = lost | held
       :: else -> lost = lost | (old_has & ~handed)
       fi;
       old = DEAD;
       old_has = 0;
       held = 0
     }
  :: true
  fi
}

/* kill -9 of a new process between any two steps, or never. */
active proctype death_of_new() {
  if
  :: atomic {
       new == RECEIVING || new == IN_CHARGE ->
       look_into_socket();
       if
       :: new == IN_CHARGE || (old == DEAD && token[attempt] == 1) -> lost = lost | ((new_has | in_socket) & ~handed)
       :: else
       fi;
       in_socket = 0;
       new_has = 0;
       d_step { drain_socket() };
       new = DEAD
     }
  :: true
  fi
}

/* Wakes when nobody can move: whoever is alive has got on, and what is not lost is with who is in charge. */
active proctype auditor() {
end_audit:
  timeout ->
  assert(old == SERVING || old == ENDED || old == DEAD);
  assert(new != RECEIVING || old == SERVING);
  assert(!(old == SERVING && new == IN_CHARGE));
  assert((handed | lost | (old == SERVING -> old_has : 0) | (new == IN_CHARGE -> new_has : 0)) == ALL);
  assert((handed & lost) == 0)
}
