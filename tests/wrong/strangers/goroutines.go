// A shared connection cache written from spec/SPEC.md: a goroutine for each client, one mutex around two maps.
//
//	goroutines --listen PATH [--clock FILE] [--ttl-limit S] [--max-idle S] ...
//
// --clock names a file of eight bytes that counts whole seconds, instead of the machine's clock, unless it is empty.
// Every option takes one value. Statistics go to standard error.
package main

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"flag"

	"log"
	"math"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	second            = int64(time.Second)
	never             = int64(math.MaxInt64)
	clockBoottime     = 7
	ioctlOutputQueue  = 0x5411 // SIOCOUTQ
	passedMax         = 253    // the kernel passes no more descriptors with one message
	descriptorReserve = 261    // LIMIT-8
	look              = 50 * time.Millisecond
)

var (
	listenPath             = flag.String("listen", "", "socket")
	clockPath              = flag.String("clock", "", "file of the clock")
	ttlLimit               = flag.Int64("ttl-limit", 2, "seconds")
	maxIdle                = flag.Int64("max-idle", math.MaxInt32, "seconds")
	ipcTimeout             = flag.Int64("ipc-timeout", 3600, "seconds")
	statusUpdateTime       = flag.Int64("status-update-time", 600, "seconds")
	listBytesMax           = flag.Int("attribute-list-bytes-max", 16384, "bytes")
	attributesMax          = flag.Int("attributes-max", 64, "attributes")
	outputBytesMax         = flag.Int("output-bytes-max", 16384, "unused: a client's next request waits for its reply")
	sessionsMax            = flag.Int("sessions-max", 100000, "sessions")
	sessionsPerEndpointMax = flag.Int("sessions-per-endpoint-max", 100000, "sessions")
	bindingsMax            = flag.Int("bindings-max", 20000, "bindings")
	bindingsPerDestination = flag.Int("bindings-per-destination-max", 1000, "bindings")
	cachedBytesMax         = flag.Int("cached-bytes-max", 67108864, "bytes")
	clientsMax             = flag.Int("clients-max", 1000, "clients")
	clientsPerUserMax      = flag.Int("clients-per-user-max", 1000, "clients")
	clockWord              []byte
	closing                sync.WaitGroup
)

func now() int64 {
	if clockWord != nil {
		return int64(binary.LittleEndian.Uint64(clockWord)) * second
	}
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano()
}

// discard closes a descriptor where it may wait.
func discard(fd int) {
	closing.Add(1)
	go func() {
		defer closing.Done()
		syscall.Close(fd)
	}()
}

// ---- The cache ----

type session struct {
	endpoint, properties string
	expiry               int64
	fd                   int
}

type binding struct {
	destination, properties, endpoint string
	expiry                            int64
}

func (s *session) size() int { return len(s.endpoint) + len(s.properties) }
func (b *binding) size() int { return len(b.destination) + len(b.properties) + len(b.endpoint) }

// due is an instant at which something may have to be removed. It stays when its session is found or renewed.
type due struct {
	at      int64
	session *session
	binding *binding
}

type dues []due

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dues) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dues) Push(x any)        { *d = append(*d, x.(due)) }
func (d *dues) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}

type counters struct {
	domainHits, domainMisses, addressHits, addressMisses int
	domainsPeak, addressesPeak, connectionsPeak          int
}

type table struct {
	sync.Mutex
	sessions     map[string][]*session
	bindings     map[string][]*binding
	sessionCount int
	bindingCount int
	bytes        int
	dues         dues
	counted      counters
	began        time.Time
	nextPrint    int64
	sooner       chan struct{}
}

var cache = table{
	sessions: map[string][]*session{}, bindings: map[string][]*binding{}, sooner: make(chan struct{}, 1),
}

func (t *table) await(d due) {
	heap.Push(&t.dues, d)
	if t.dues[0] == d {
		t.wakeKeeper()
	}
}

func (t *table) wakeKeeper() {
	select {
	case t.sooner <- struct{}{}:
	default:
	}
}

func (t *table) removeSession(s *session) bool {
	queue := t.sessions[s.endpoint]
	for i, each := range queue {
		if each == s {
			if len(queue) == 1 {
				delete(t.sessions, s.endpoint)
			} else {
				t.sessions[s.endpoint] = append(queue[:i], queue[i+1:]...)
			}
			t.sessionCount--
			t.bytes -= s.size()
			return true
		}
	}
	return false
}

func (t *table) removeBinding(b *binding) {
	queue := t.bindings[b.destination]
	for i, each := range queue {
		if each == b {
			if len(queue) == 1 {
				delete(t.bindings, b.destination)
			} else {
				t.bindings[b.destination] = append(queue[:i], queue[i+1:]...)
			}
			t.bindingCount--
			t.bytes -= b.size()
			return
		}
	}
}

// expire removes what is due.
func (t *table) expire() {
	instant := now()
	for len(t.dues) > 0 && t.dues[0].at <= instant {
		d := heap.Pop(&t.dues).(due)
		if d.session != nil && t.removeSession(d.session) {
			discard(d.session.fd)
		}
		if d.binding != nil && d.binding.expiry <= instant {
			t.removeBinding(d.binding)
		}
	}
}

func expiryOf(ttl int64) int64 {
	if ttl > *ttlLimit {
		ttl = *ttlLimit
	}
	return now() + ttl*second
}

func raise(peak *int, count int) {
	if *peak < count {
		*peak = count
	}
}

// saveEndp parks a session; if it does not, the descriptor is the caller's.
func (t *table) saveEndp(endpoint, properties string, ttl int64, fd int) bool {
	t.Lock()
	defer t.Unlock()
	t.expire()
	s := &session{endpoint, properties, expiryOf(ttl), fd}
	if t.sessionCount >= *sessionsMax || len(t.sessions[endpoint]) >= *sessionsPerEndpointMax ||
		t.bytes+s.size() > *cachedBytesMax {
		return false
	}
	t.sessions[endpoint] = append(t.sessions[endpoint], s)
	t.sessionCount++
	t.bytes += s.size()
	t.await(due{s.expiry, s, nil})
	raise(&t.counted.addressesPeak, len(t.sessions))
	raise(&t.counted.connectionsPeak, t.sessionCount)
	return true
}

func (t *table) putBack(s *session) {
	t.Lock()
	defer t.Unlock()
	t.expire()
	if s.expiry <= now() {
		discard(s.fd)
		return
	}
	t.sessions[s.endpoint] = append([]*session{s}, t.sessions[s.endpoint]...)
	t.sessionCount++
	t.bytes += s.size()
	t.await(due{s.expiry, s, nil})
}

func (t *table) saveDest(destination, properties, endpoint string, ttl int64) bool {
	t.Lock()
	defer t.Unlock()
	t.expire()
	b := &binding{destination, properties, endpoint, expiryOf(ttl)}
	renewed := false
	for _, each := range t.bindings[destination] {
		if each.endpoint == endpoint && each.properties == properties {
			each.expiry = b.expiry
			t.await(due{each.expiry, nil, each})
			renewed = true
		}
	}
	if !renewed {
		if t.bindingCount >= *bindingsMax || len(t.bindings[destination]) >= *bindingsPerDestination ||
			t.bytes+b.size() > *cachedBytesMax {
			return false
		}
		t.bindings[destination] = append(t.bindings[destination], b)
		t.bindingCount++
		t.bytes += b.size()
		t.await(due{b.expiry, nil, b})
	}
	raise(&t.counted.domainsPeak, len(t.bindings))
	raise(&t.counted.addressesPeak, len(t.sessions))
	return true
}

func (t *table) findEndp(endpoint string) *session {
	t.Lock()
	defer t.Unlock()
	t.expire()
	if queue := t.sessions[endpoint]; len(queue) > 0 {
		t.counted.addressHits++
		found := queue[0] // removing moves the others in place
		t.removeSession(found)
		return found
	}
	t.counted.addressMisses++
	return nil
}

func (t *table) findDest(destination string) (*session, string) {
	t.Lock()
	defer t.Unlock()
	t.expire()
	for _, b := range t.bindings[destination] {
		if queue := t.sessions[b.endpoint]; len(queue) > 0 {
			t.counted.domainHits++
			found := queue[0]
			t.removeSession(found)
			return found, b.properties
		}
	}
	t.counted.domainMisses++
	return nil, ""
}

func printLookups(what string, hits, misses int) {
	if hits+misses > 0 {
		log.Printf("statistics: %s lookup hits=%d miss=%d success=%d%%", what, hits, misses, hits*100/(hits+misses))
	}
}

func (t *table) printStatistics() {
	c := t.counted
	if c != (counters{}) {
		log.Printf("statistics: start interval %s", t.began.Format("Jan _2 15:04:05"))
	}
	printLookups("domain", c.domainHits, c.domainMisses)
	printLookups("address", c.addressHits, c.addressMisses)
	if c.domainsPeak+c.addressesPeak+c.connectionsPeak > 0 {
		log.Printf("statistics: max simultaneous domains=%d addresses=%d connection=%d",
			c.domainsPeak, c.addressesPeak, c.connectionsPeak)
	}
	t.counted = counters{}
}

func (t *table) beginInterval() {
	t.began = time.Now()
	if clockWord != nil {
		t.began = time.Unix(now()/second, 0)
	}
	t.nextPrint = now() + *statusUpdateTime*second
}

// ---- Lists ----

var errLimit = errors.New("the list breaks a limit")

// listLength returns the length of the first list, 0 if its end has not come.
func listLength(data []byte) (int, error) {
	at, whole := 0, false
	for attributes := 0; at < len(data); attributes++ {
		if data[at] == 0 {
			at, whole = at+1, true
			break
		}
		if at < *listBytesMax && attributes == *attributesMax {
			return 0, errLimit
		}
		for word := 0; word < 2 && at < len(data); word++ {
			end := bytes.IndexByte(data[at:], 0)
			if end < 0 {
				at = len(data)
			} else {
				at += end + 1
			}
		}
	}
	if whole && at <= *listBytesMax {
		return at, nil
	}
	if whole || len(data) >= *listBytesMax {
		return 0, errLimit
	}
	return 0, nil
}

// match returns the values of the attributes of these names at the beginning of the list, as many as there are.
func match(list []byte, names ...string) []string {
	words := strings.Split(string(list), "\x00")
	var values []string
	for i, name := range names {
		if 2*i+1 >= len(words) || words[2*i] != name {
			break
		}
		values = append(values, words[2*i+1])
	}
	return values
}

// ttlOf returns the seconds that a ttl says, 0 if it is none.
func ttlOf(text string) int64 {
	text = strings.TrimLeft(text, " \t\n\v\f\r")
	text = strings.TrimPrefix(text, "+")
	if strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return 0
	}
	ttl, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return int64(ttl)
}

func reply(words ...string) []byte {
	return []byte(strings.Join(words, "\x00") + "\x00\x00")
}

// ---- Clients ----

type state int

const (
	request state = iota
	descriptor
	ready
	received
)

type client struct {
	conn      *net.UnixConn
	raw       syscall.RawConn
	uid       uint32
	state     state
	data      []byte
	stepSince int64
	ttl       int64
	endpoint  string
	property  string
	held      *session
	inFlight  bool
	deaf      bool
}

var (
	clientsLock sync.Mutex
	clients     = map[*client]bool{}
	idleSince   int64
)

var errGone = errors.New("the client is gone")

// deadline says until when a wait that began then may take. With a clock in a file it is looked at all the time.
func deadline(since int64) time.Time {
	if clockWord != nil {
		return time.Now().Add(look)
	}
	if since == never {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(since + *ipcTimeout*second - now()))
}

func overdue(since int64) bool {
	return since != never && now()-since >= *ipcTimeout*second
}

// write sends bytes, and a descriptor with them unless it is -1.
func (c *client) write(data []byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = syscall.UnixRights(fd)
	}
	since := now()
	for len(data) > 0 {
		var n int
		var failed error
		c.conn.SetWriteDeadline(deadline(since))
		err := c.raw.Write(func(socket uintptr) bool {
			n, failed = syscall.SendmsgN(int(socket), data, rights, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
			return failed != syscall.EAGAIN
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if overdue(since) {
				return errGone
			}
		case err != nil:
			return err
		case failed == syscall.EINTR:
		case failed == syscall.ENOBUFS || failed == syscall.ENOMEM:
			time.Sleep(time.Millisecond)
		case failed != nil:
			return failed
		default:
			data = data[n:]
		}
	}
	return nil
}

func (c *client) say(words ...string) error {
	if c.deaf {
		return nil
	}
	err := c.write(reply(words...), -1)
	if err != nil && err != errGone {
		c.deaf = true // what it sent before it left is served
		return nil
	}
	return err
}

// read reads once, and returns the descriptors that came. It returns no error and no bytes if it was too early.
func (c *client) read(data []byte) (n int, passed []int, cut bool, err error) {
	control := make([]byte, syscall.CmsgSpace(4*passedMax)+64)
	var length, flags int
	var failed error
	receive := func(socket uintptr) bool {
		n, length, flags, _, failed = syscall.Recvmsg(
			int(socket), data, control, syscall.MSG_CMSG_CLOEXEC|syscall.MSG_DONTWAIT)
		return failed != syscall.EAGAIN
	}
	c.conn.SetReadDeadline(deadline(c.stepSince))
	err = c.raw.Read(receive)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		isOverdue := overdue(c.stepSince)
		err = c.raw.Control(func(socket uintptr) { receive(socket) })
		if failed == syscall.EAGAIN && isOverdue {
			return 0, nil, false, errGone
		}
	}
	if err != nil {
		return 0, nil, false, err
	}
	if failed == syscall.EAGAIN || failed == syscall.EINTR || failed == syscall.ENOBUFS || failed == syscall.ENOMEM {
		return 0, nil, false, nil
	}
	if failed != nil || n == 0 {
		return 0, nil, false, errGone
	}
	messages, _ := syscall.ParseSocketControlMessage(control[:length])
	for _, message := range messages {
		fds, _ := syscall.ParseUnixRights(&message)
		passed = append(passed, fds...)
	}
	return n, passed, flags&syscall.MSG_CTRUNC != 0, nil
}

// awaitRead waits until the client has read the descriptor that was sent to it.
func (c *client) awaitRead() error {
	for c.inFlight {
		var unread int32
		var failed int
		c.raw.Control(func(socket uintptr) {
			syscall.Syscall(syscall.SYS_IOCTL, socket, ioctlOutputQueue, uintptr(unsafe.Pointer(&unread)))
		})
		if unread > 0 {
			if overdue(c.stepSince) {
				return errGone
			}
			time.Sleep(2 * time.Millisecond)
			continue
		}
		c.raw.Control(func(socket uintptr) {
			failed, _ = syscall.GetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_ERROR)
		})
		if syscall.Errno(failed) == syscall.ECONNRESET {
			return errGone // it closed and left the descriptor unread
		}
		c.inFlight = false
	}
	return nil
}

func (c *client) handOver() error {
	if c.deaf {
		return errGone
	}
	if err := c.write([]byte{0}, c.held.fd); err != nil {
		return err
	}
	discard(c.held.fd)
	c.held = nil
	c.inFlight = true
	c.state = received
	return nil
}

func (c *client) serveDescriptor(passed []int, cut bool) error {
	c.state = request
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	if len(passed) == 1 && !cut && uint64(passed[0])+descriptorReserve < limit.Cur &&
		cache.saveEndp(c.endpoint, c.property, c.ttl, passed[0]) {
		return c.say("status", "0")
	}
	for _, fd := range passed {
		discard(fd)
	}
	return c.say("status", "2")
}

func (c *client) serveList(list []byte) error {
	switch c.state {
	case ready:
		if len(match(list, "dummy")) == 1 {
			return c.handOver()
		}
		cache.putBack(c.held)
		c.held = nil
		c.state = request
		return nil
	case received:
		c.state = request
		return nil
	}
	named := match(list, "request")
	if len(named) == 0 {
		return nil
	}
	switch named[0] {
	case "save_endp":
		values := match(list, "request", "ttl", "label", "property")
		if len(values) < 4 || ttlOf(values[1]) == 0 {
			return c.say("status", "1")
		}
		c.ttl, c.endpoint, c.property = ttlOf(values[1]), values[2], values[3]
		c.state = descriptor
		return c.say("dummy", "")
	case "save_dest":
		values := match(list, "request", "ttl", "label", "property", "label")
		if len(values) < 5 || ttlOf(values[1]) == 0 {
			return c.say("status", "1")
		}
		if cache.saveDest(values[2], values[3], values[4], ttlOf(values[1])) {
			return c.say("status", "0")
		}
		return c.say("status", "2")
	case "find_endp":
		values := match(list, "request", "label")
		if len(values) < 2 {
			return c.say("status", "1", "property", "")
		}
		if c.held = cache.findEndp(values[1]); c.held == nil {
			return c.say("status", "2", "property", "")
		}
		c.state = ready
		return c.say("status", "0", "property", c.held.properties)
	case "find_dest":
		values := match(list, "request", "label")
		if len(values) < 2 {
			return c.say("status", "1", "property", "", "property", "")
		}
		var property string
		if c.held, property = cache.findDest(values[1]); c.held == nil {
			return c.say("status", "2", "property", "", "property", "")
		}
		c.state = ready
		return c.say("status", "0", "property", property, "property", c.held.properties)
	}
	return c.say("status", "1")
}

// step serves one list or one descriptor, or reads more.
func (c *client) step() error {
	if err := c.awaitRead(); err != nil {
		return err
	}
	if c.state == descriptor {
		if len(c.data) > 0 {
			c.data = c.data[1:]
			err := c.serveDescriptor(nil, false)
			c.stepSince = never
			return err
		}
		n, passed, cut, err := c.read(make([]byte, 1))
		if err != nil || n == 0 {
			return err
		}
		err = c.serveDescriptor(passed, cut)
		c.stepSince = never
		return err
	}
	length, err := listLength(c.data)
	if err != nil {
		return err
	}
	if length > 0 {
		list := c.data[:length]
		c.data = c.data[length:]
		err = c.serveList(list)
		c.stepSince = never
		return err
	}
	data := make([]byte, 4096)
	n, passed, _, err := c.read(data)
	for _, fd := range passed {
		discard(fd)
	}
	c.data = append(c.data, data[:n]...)
	return err
}

func (c *client) serve() {
	err := c.say("protocol", "connection_cache_protocol")
	for err == nil {
		if c.state == request && len(c.data) == 0 {
			c.stepSince = never
		} else if c.stepSince == never {
			c.stepSince = now()
		}
		err = c.step()
	}
	if c.held != nil {
		cache.putBack(c.held)
	}
	clientsLock.Lock()
	delete(clients, c)
	idleSince = now()
	clientsLock.Unlock()
	cache.wakeKeeper()
	c.conn.Close()
}

func letIn(conn *net.UnixConn) {
	c := &client{conn: conn, stepSince: never}
	c.raw, _ = conn.SyscallConn()
	c.raw.Control(func(socket uintptr) {
		if user, err := syscall.GetsockoptUcred(int(socket), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			c.uid = user.Uid
		}
		syscall.SetsockoptInt(int(socket), syscall.SOL_SOCKET, syscall.SO_OOBINLINE, 1)
	})
	clientsLock.Lock()
	defer clientsLock.Unlock()
	ofUser := 0
	for each := range clients {
		if each.uid == c.uid {
			ofUser++
		}
	}
	if len(clients) >= *clientsMax || ofUser >= *clientsPerUserMax {
		go conn.Close()
		return
	}
	clients[c] = true
	go c.serve()
}

// ---- The process ----

func exit() {
	clientsLock.Lock()
	cache.Lock()
	for c := range clients {
		closing.Add(1)
		go func(c *client) {
			defer closing.Done()
			c.conn.Close()
		}(c)
	}
	for _, queue := range cache.sessions {
		for _, s := range queue {
			discard(s.fd)
		}
	}
	cache.printStatistics()
	done := make(chan struct{})
	go func() {
		closing.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Second): // somebody may never let go of a file
	}
	os.Exit(0)
}

// keep removes what is due, prints statistics and ends an idle server.
func keep() {
	for {
		cache.Lock()
		cache.expire()
		if now() >= cache.nextPrint {
			cache.printStatistics()
			cache.beginInterval()
		}
		next := cache.nextPrint
		if len(cache.dues) > 0 && cache.dues[0].at < next {
			next = cache.dues[0].at
		}
		parked := cache.sessionCount
		cache.Unlock()
		clientsLock.Lock()
		if len(clients) == 0 && parked == 0 {
			end := idleSince + *maxIdle*second
			if now() >= end {
				clientsLock.Unlock()
				exit()
			}
			if end < next {
				next = end
			}
		}
		clientsLock.Unlock()
		wait := time.Duration(next - now())
		if clockWord != nil {
			wait = look
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-cache.sooner:
			timer.Stop()
		}
	}
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *clockPath != "" {
		file, err := os.Open(*clockPath)
		if err != nil {
			log.Fatal(err)
		}
		clockWord, err = syscall.Mmap(int(file.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			log.Fatal(err)
		}
		file.Close()
	}
	os.Remove(*listenPath)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: *listenPath, Net: "unix"})
	if err != nil {
		log.Fatal(err)
	}
	idleSince = now()
	cache.beginInterval()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		exit()
	}()
	go keep()
	for {
		conn, err := listener.AcceptUnix()
		if err != nil {
			time.Sleep(look) // no descriptor for one
			continue
		}
		letIn(conn)
	}
}
