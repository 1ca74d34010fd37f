package http

import (
	"encoding/json"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-registry/muster/registry/nacos/codec"
)

// foreseen are the statuses that a request can end in, whatever it holds. A panic would be a 500 that says so.
var foreseen = []int{200, 400, 404, 413, 500, 501}

// tryRequest sends what nobody should send, and checks what must hold all the same.
func tryRequest(t *testing.T, s *Server, core *fakeCore, method, path, query, form string) {
	t.Helper()
	r := httptest.NewRequest(method, "/nacos/v1/ns"+path, strings.NewReader(form))
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if !slices.Contains(foreseen, w.Code) || strings.Contains(w.Body.String(), `"message":"Server failed"`) {
		t.Fatalf("%s %s?%q, form %q: %d %s", method, path, query, form, w.Code, w.Body)
	}
	if w.Header().Get("Content-Type") == typeJSON && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("not JSON: %s", w.Body)
	}
	for key, hosts := range stored(core) {
		for _, in := range hosts {
			if in.IP == "" || in.Port < 0 || in.Port > 65535 || in.Cluster == "" || in.ID == "" || in.Weight != in.Weight ||
				!utf8.ValidString(key.String()+in.IP+in.Cluster) || codec.CheckService(key.Namespace, key.Group, key.Name) != nil || codec.CheckInstance(in) != nil {
				t.Fatalf("stored %v: %+v", key, in)
			}
		}
		list := httptest.NewRecorder()
		q := httptest.NewRequest(nethttp.MethodGet, "/nacos/v1/ns/instance/list", nil)
		q.URL.RawQuery = urlQuery("serviceName", key.Grouped(), "namespaceId", key.Namespace)
		s.ServeHTTP(list, q)
		if list.Code != 200 || !json.Valid(list.Body.Bytes()) {
			t.Fatalf("list of %v: %d %s", key, list.Code, list.Body)
		}
	}
}

func urlQuery(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func FuzzRequest(f *testing.F) {
	routes := namingRoutes()
	f.Add(uint8(0), "serviceName=s&ip=10.0.0.1&port=80", "weight=1e3d&metadata=a=1,b=2")
	f.Add(uint8(0), `serviceName=g@@s&ip=::1&port=0&metadata={"a":null}`, "")
	f.Add(uint8(2), "serviceName=s;x&ip=%zz&port=-0&port=1", "%=&&=&a")
	f.Add(uint8(5), "serviceName=@@@&clusters=,,a&udpPort=1&healthyOnly=true", "")
	f.Add(uint8(6), "pageNo=-9223372036854775808&pageSize=99999999999", "")
	f.Fuzz(func(t *testing.T, route uint8, query, form string) {
		core := newFakeCore()
		r := routes[int(route)%len(routes)]
		tryRequest(t, newServer(t, core), core, r.method, r.path, query, form)
	})
}

func FuzzBeat(f *testing.F) {
	f.Add(`{"cluster":"DEFAULT","ip":"10.0.0.1","metadata":{"a":"1"},"period":5000,"port":80,"weight":2.0}`)
	f.Add(`{"ip":1,"port":"80","weight":"1e309","metadata":{"":null}}`)
	f.Add(`{"ip":"10.0.0.1","cluster":"\ud800","metadata":{"preserved.heart.beat.interval":"1"}}`)
	f.Add(`[[[[`)
	f.Fuzz(func(t *testing.T, beat string) {
		core := newFakeCore()
		tryRequest(t, newServer(t, core), core, nethttp.MethodPut, "/instance/beat", urlQuery("serviceName", "s"), urlQuery("beat", beat))
	})
}
