package member_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// BenchmarkBeat is a light beat of one of 10,000 publishers, each in a service of its own, where the member is alone.
func BenchmarkBeat(b *testing.B) {
	c := newCluster(nil)
	s := c.add("a", membership.PolicyStandalone())
	s.Tick()
	c.now.Mono += time.Minute
	s.Tick()
	beats := make([]member.Beat, 10_000)
	for i := range beats {
		k := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: fmt.Sprint("service-", i)}
		s.RegisterInstance(k, webServer, model.Client{})
		beats[i] = member.Beat{Service: k, IP: webServer.IP, Port: int(webServer.Port)}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if r, _ := s.Beat(beats[i%len(beats)]); !r.Known {
			b.Fatal("nobody known")
		}
	}
}
