"""Slips in goroutines.go."""

from typing import Final

from tests.wrong.strangers.program import Stranger

SERVER: Final = Stranger("goroutines.go", "go")
slip = SERVER.slip

# Slices and maps.

slip(
    "found-after-removal", "ENDP-3", "A find hands out the first of the slice after removing has moved the others in place.",
    ("\t\tfound := queue[0] // removing moves the others in place\n\t\tt.removeSession(found)\n\t\treturn found\n\t}\n\tt.counted.addressMisses++", "\t\tt.removeSession(queue[0])\n\t\treturn queue[0]\n\t}\n\tt.counted.addressMisses++"),
)  # fmt: skip
slip(
    "found-after-removal-by-destination", "DEST-4", "A find_dest hands out the first of the slice after removing has moved the others in place.",
    ("\t\t\tfound := queue[0]\n\t\t\tt.removeSession(found)\n\t\t\treturn found, b.properties", "\t\t\tt.removeSession(queue[0])\n\t\t\treturn queue[0], b.properties"),
)  # fmt: skip
slip(
    "bindings-in-the-order-of-a-map", "DEST-4", "The bindings of a destination are tried in the order of a map, which is none.",
    ("\tfor _, b := range t.bindings[destination] {\n\t\tif queue", "\tinAnyOrder := map[*binding]bool{}\n\tfor _, b := range t.bindings[destination] {\n\t\tinAnyOrder[b] = true\n\t}\n\tfor b := range inAnyOrder {\n\t\tif queue"),
)  # fmt: skip
slip(
    "removal-swaps-with-the-last", "ENDP-3", "A session that ends is replaced by the last of its slice.",
    ("\t\t\t\tt.sessions[s.endpoint] = append(queue[:i], queue[i+1:]...)", "\t\t\t\tqueue[i] = queue[len(queue)-1]\n\t\t\t\tt.sessions[s.endpoint] = queue[:len(queue)-1]"),
)  # fmt: skip
slip(
    "binding-removal-swaps-with-the-last", "DEST-3", "A binding that ends is replaced by the last of its slice.",
    ("\t\t\t\tt.bindings[b.destination] = append(queue[:i], queue[i+1:]...)", "\t\t\t\tqueue[i] = queue[len(queue)-1]\n\t\t\t\tt.bindings[b.destination] = queue[:len(queue)-1]"),
)  # fmt: skip
slip(
    "empty-endpoints-stay", "STAT-1", "An endpoint whose last session is gone stays in the map, and counts.",
    ("\t\t\tif len(queue) == 1 {\n\t\t\t\tdelete(t.sessions, s.endpoint)\n\t\t\t} else {\n", "\t\t\t{\n"),
)  # fmt: skip
slip(
    "empty-destinations-stay", "STAT-1", "A destination whose last binding is gone stays in the map, and counts.",
    ("\t\t\tif len(queue) == 1 {\n\t\t\t\tdelete(t.bindings, b.destination)\n\t\t\t} else {\n", "\t\t\t{\n"),
)  # fmt: skip
slip(
    "old-dues-end-renewed-bindings", "DEST-2", "The instant at which a binding was due before its renewal removes it.",
    ("\t\tif d.binding != nil && d.binding.expiry <= instant {", "\t\tif d.binding != nil {"),
)  # fmt: skip
slip(
    "renewal-is-not-due", "DEST-2", "A binding that was renewed is due at the old instant alone.",
    ("\t\t\teach.expiry = b.expiry\n\t\t\tt.await(due{each.expiry, nil, each})\n", "\t\t\teach.expiry = b.expiry\n"),
)  # fmt: skip
slip(
    "put-back-is-not-due", "ENDP-5", "The instant of a session is forgotten when it is found, and not awaited again when it is put back.",
    ("func (t *table) removeSession(s *session) bool {\n", "func (t *table) removeSession(s *session) bool {\n\tfor i := range t.dues {\n\t\tif t.dues[i].session == s {\n\t\t\theap.Remove(&t.dues, i)\n\t\t\tbreak\n\t\t}\n\t}\n"),
    ("\tt.bytes += s.size()\n\tt.await(due{s.expiry, s, nil})\n}", "\tt.bytes += s.size()\n}"),
)  # fmt: skip
slip(
    "connections-are-endpoints", "STAT-4", "The peak of connections counts the keys of the map.",
    ("\traise(&t.counted.connectionsPeak, t.sessionCount)", "\traise(&t.counted.connectionsPeak, len(t.sessions))"),
)  # fmt: skip
slip(
    "find-takes-peaks", "STAT-4", "The peaks are taken of what was there when statistics are printed.",
    ("\tt.counted = counters{}\n", "\tt.counted = counters{connectionsPeak: t.sessionCount, addressesPeak: len(t.sessions), domainsPeak: len(t.bindings)}\n"),
)  # fmt: skip

# Bytes.

slip(
    "ttl-is-trimmed", "WIRE-8", "White space is trimmed from both ends of a ttl, that of Unicode too.",
    ('\ttext = strings.TrimLeft(text, " \\t\\n\\v\\f\\r")\n', "\ttext = strings.TrimSpace(text)\n"),
)  # fmt: skip
slip(
    "ttl-has-32-bits", "WIRE-9", "A ttl is parsed with 32 bits where 31 are meant.",
    ("strconv.ParseUint(text, 10, 31)", "strconv.ParseUint(text, 10, 32)"),
)  # fmt: skip
slip(
    "ttl-by-its-prefix", "WIRE-8", "The base of a ttl is told by its prefix, and underscores are allowed.",
    ("\tif strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {\n\t\treturn 0\n\t}\n\tttl, err := strconv.ParseUint(text, 10, 31)", "\tttl, err := strconv.ParseUint(text, 0, 31)"),
)  # fmt: skip
slip(
    "labels-are-unicode", "WIRE-3", "What is no UTF-8 is replaced.",
    ('\twords := strings.Split(string(list), "\\x00")', '\twords := strings.Split(strings.ToValidUTF8(string(list), "\\ufffd"), "\\x00")'),
)  # fmt: skip
slip(
    "values-are-trimmed", "WIRE-3", "White space is trimmed from values.",
    ("\t\tvalues = append(values, words[2*i+1])", "\t\tvalues = append(values, strings.TrimSpace(words[2*i+1]))"),
)  # fmt: skip
slip(
    "names-ignore-case", "CONN-5", "Names of attributes are compared without regard to case.",
    ("words[2*i] != name {", "!strings.EqualFold(words[2*i], name) {"),
)  # fmt: skip
slip(
    "list-ends-at-two-nuls", "WIRE-2", "A list is read up to its first two NULs.",
    ("\tat, whole := 0, false\n", '\tif end := bytes.Index(data, []byte("\\x00\\x00")); end >= 0 && end+2 <= *listBytesMax && data[0] != 0 {\n\t\treturn end + 2, nil\n\t}\n\tat, whole := 0, false\n'),
)  # fmt: skip
slip(
    "read-replaces-what-was-left", "WIRE-4", "What is read takes the place of what was read before and not served.",
    ("\tc.data = append(c.data, data[:n]...)\n", "\tif n > 0 {\n\t\tc.data = data[:n]\n\t}\n"),
)  # fmt: skip
slip(
    "empty-list-is-a-panic", "CONN-4", "An empty list has no first attribute, and the server ends by a panic.",
    ("\tif len(named) == 0 {\n\t\treturn nil\n\t}\n", "\tif len(list) > 1 && len(named) == 0 {\n\t\treturn nil\n\t}\n"),
)  # fmt: skip
slip(
    "short-request-is-a-panic", "CONN-7", "The attributes of find_endp are taken without a look at how many there are.",
    ('\t\tif len(values) < 2 {\n\t\t\treturn c.say("status", "1", "property", "")\n\t\t}\n', ""),
)  # fmt: skip

# Descriptors.

slip(
    "refused-by-the-loops-variable", "FD-4", "The goroutines that close what was refused all see the loop's last variable.",
    ("\tfor _, fd := range passed {\n\t\tdiscard(fd)\n\t}\n\treturn c.say(\"status\", \"2\")", "\tfor _, fd := range passed {\n\t\tgo func() { syscall.Close(fd) }()\n\t}\n\treturn c.say(\"status\", \"2\")"),
)  # fmt: skip
slip(
    "stowaways-by-the-loops-variable", "FD-1", "The goroutines that close what rides on plain bytes all see the loop's last variable.",
    ("\tfor _, fd := range passed {\n\t\tdiscard(fd)\n\t}\n\tc.data", "\tfor _, fd := range passed {\n\t\tgo func() { syscall.Close(fd) }()\n\t}\n\tc.data"),
)  # fmt: skip
slip(
    "stowaways-are-deferred", "FD-1", "What rides on plain bytes is closed when its client leaves.",
    ("\tdata := make([]byte, 4096)\n\tn, passed, _, err := c.read(data)\n\tfor _, fd := range passed {\n\t\tdiscard(fd)\n\t}\n", "\tdata := make([]byte, 4096)\n\tn, passed, _, err := c.read(data)\n\tc.deferred = append(c.deferred, passed...)\n"),
    ("\tdeaf      bool\n", "\tdeaf      bool\n\tdeferred  []int\n"),
    ("\tif c.held != nil {\n\t\tcache.putBack(c.held)\n\t}\n\tclientsLock", "\tfor _, fd := range c.deferred {\n\t\tdiscard(fd)\n\t}\n\tif c.held != nil {\n\t\tcache.putBack(c.held)\n\t}\n\tclientsLock"),
)  # fmt: skip
slip(
    "parked-is-made-blocking", "FD-13", "What is parked is looked at as an os.File, whose Fd makes it blocking.",
    ("\ts := &session{endpoint, properties, expiryOf(ttl), fd}\n", "\tsyscall.SetNonblock(fd, false)\n\ts := &session{endpoint, properties, expiryOf(ttl), fd}\n"),
)  # fmt: skip
slip(
    "due-is-closed-under-the-mutex", "FD-15", "What is due is closed while the mutex is locked.",
    ("\t\t\tdiscard(d.session.fd)\n", "\t\t\tsyscall.Close(d.session.fd)\n"),
)  # fmt: skip
slip(
    "too-late-is-closed-under-the-mutex", "FD-15", "What is put back too late is closed while the mutex is locked.",
    ("\tif s.expiry <= now() {\n\t\tdiscard(s.fd)", "\tif s.expiry <= now() {\n\t\tsyscall.Close(s.fd)"),
)  # fmt: skip

# Goroutines and the process.

slip(
    "written-under-the-mutex", "CONN-2", "The reply of a find is written while the mutex is locked.",
    ('\t\tc.state = ready\n\t\treturn c.say("status", "0", "property", c.held.properties)', '\t\tc.state = ready\n\t\tcache.Lock()\n\t\tdefer cache.Unlock()\n\t\treturn c.say("status", "0", "property", c.held.properties)'),
)  # fmt: skip
slip(
    "greeted-by-the-accepting-loop", "LIMIT-7", "The loop that lets clients in serves each until it has read its greeting.",
    ("\tclients[c] = true\n\tgo c.serve()\n", "\tclients[c] = true\n\tc.inFlight = true\n\tc.write(reply(\"protocol\", \"connection_cache_protocol\"), -1)\n\tc.awaitRead()\n\tgo c.serve()\n"),
    ('\terr := c.say("protocol", "connection_cache_protocol")\n', "\tvar err error\n"),
)  # fmt: skip
slip(
    "output-without-a-deadline", "LIMIT-7", "Writing to a client has no deadline.",
    ("\t\t\tif overdue(since) {\n\t\t\t\treturn errGone\n\t\t\t}\n\t\tcase err != nil:", "\t\tcase err != nil:"),
)  # fmt: skip
slip(
    "deadline-without-a-last-look", "LIMIT-7", "A client whose deadline passed is removed without reading what has come.",
    ("\t\tisOverdue := overdue(c.stepSince)\n", "\t\tisOverdue := overdue(c.stepSince)\n\t\tif isOverdue {\n\t\t\treturn 0, nil, false, errGone\n\t\t}\n"),
)  # fmt: skip
slip(
    "sigterm-is-not-caught", "LIFE-4", "SIGINT is caught, and SIGTERM is not.",
    ("signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)", "signal.Notify(signals, syscall.SIGINT)"),
)  # fmt: skip
slip(
    "users-by-their-group", "LIMIT-12", "Clients are counted by their group.",
    ("\t\t\tc.uid = user.Uid\n", "\t\t\tc.uid = user.Gid\n"),
)  # fmt: skip
slip(
    "users-by-their-process", "LIMIT-12", "Clients are counted by their process.",
    ("\t\t\tc.uid = user.Uid\n", "\t\t\tc.uid = uint32(user.Pid)\n"),
)  # fmt: skip
slip(
    "start-line-without-a-blank", "STAT-5", "The day of the interval's start has one place below ten.",
    ('"Jan _2 15:04:05"', '"Jan 2 15:04:05"'),
)  # fmt: skip
slip(
    "start-line-with-a-zero", "STAT-5", "The day of the interval's start has a zero before it below ten.",
    ('"Jan _2 15:04:05"', '"Jan 02 15:04:05"'),
)  # fmt: skip
slip(
    "start-line-in-utc", "STAT-5", "The interval's start is told in UTC.",
    ("t.began.Format(", "t.began.UTC().Format("),
)  # fmt: skip
slip(
    "parked-files-are-garbage", "TTL-2", "A parked descriptor is made a file that nothing refers to: a collection closes it.",
    ("\ts := &session{endpoint, properties, expiryOf(ttl), fd}\n",
     '\ts := &session{endpoint, properties, expiryOf(ttl), fd}\n\tos.NewFile(uintptr(fd), "parked")\n'),
)  # fmt: skip
