package grpc

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-registry/muster/registry/push"
)

// many instances make a list that is larger than what gRPC lets a client leave unread.
const many = 2000

func manyInstances(round int) string {
	instances := make([]string, many)
	for i := range instances {
		instances[i] = fmt.Sprintf(`{"ip":"10.0.%d.%d","port":%d}`, i/250, i%250, 1000+round)
	}
	return strings.Join(instances, ",")
}

// A client that does not read blocks its own writer and nobody else, and is closed in the end.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	m, _, address := serve(t, 200*time.Millisecond)
	slow := dial(t, address)
	slow.openUnread()
	slow.send(setupRequest, goSetup)
	slow.waitConnected()
	quick := connect(t, address, goSetup).waitConnected()
	publisher := connect(t, address, goSetup).waitConnected()
	slow.call("SubscribeServiceRequest", subscribes)
	quick.call("SubscribeServiceRequest", subscribes)

	for round := range 5 {
		publisher.call("BatchInstanceRequest", `{`+aService+`,"type":"batchRegisterInstance","instances":[`+manyInstances(round)+`]}`)
		if kind, body := quick.next(); kind != "NotifySubscriberRequest" || hosts(t, body) != many {
			t.Fatalf("round %d: got %s with %d hosts", round, kind, hosts(t, body))
		}
	}
	m.wait(t, "disconnect", 1)
	if m.count("abandon") != 1 {
		t.Error("a client that does not read was taken for one that is gone")
	}
	quick.waitConnected()
}

// stuckReader is a connection whose writer waits for its client, which has not read what is there for it.
func (b *bubble) stuckReader() (*client, *push.Conn) {
	b.Helper()
	slow := b.dial()
	slow.openUnread()
	slow.send(setupRequest, goSetup)
	slow.waitConnected()
	out := b.member.only(b.T).out
	slow.call("SubscribeServiceRequest", subscribes)
	publisher := b.dial()
	publisher.open()
	publisher.send(setupRequest, goSetup)
	publisher.waitConnected().call("BatchInstanceRequest", `{`+aService+`,"type":"batchRegisterInstance","instances":[`+manyInstances(0)+`]}`)
	synctest.Wait() // the writer has taken the list: what the publisher takes along shall not be in its place
	publisher.close()
	synctest.Wait()
	b.member.hub.Close(out) // nothing else is to come
	return slow, out
}

// A client that gave no sign of life is ended though it does not read, and not by our doing: it is gone.
func TestCloseOfAClientThatDoesNotRead(t *testing.T) {
	tests := map[string]struct {
		stuckAfter time.Duration
		reads      time.Duration // after the close was asked for; 0: never
		within     time.Duration
		whole      bool // it was sent what was under way
	}{
		"never reads":              {stuckAfter: time.Hour, within: closeWithin},
		"reads soon":               {stuckAfter: time.Hour, reads: closeWithin / 2, within: closeWithin / 2, whole: true},
		"stuck for long meanwhile": {stuckAfter: closeWithin / 2, within: closeWithin / 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, tt.stuckAfter)
				slow, out := b.stuckReader()
				gone := b.member.count("disconnect")
				out.Do(push.ItemClose)
				out.Do(push.ItemClose)
				if tt.reads > 0 {
					b.pass(tt.reads)
					slow.receive()
				}
				b.pass(tt.within - tt.reads)
				if n := b.member.count("disconnect") - gone; n != 1 {
					t.Errorf("%d connections ended", n)
				}
				if n := b.member.count("abandon"); n != 0 {
					t.Errorf("%d ended by our doing", n)
				}
				if tt.whole {
					if kind, _ := slow.next(); kind != "NotifySubscriberRequest" {
						t.Errorf("got %s", kind)
					}
					if err := slow.waitEnd(); err != nil {
						t.Errorf("stream ended with %v, want OK", err)
					}
				}
				b.stop(slow)
			})
		})
	}
}
