package kubeclient_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/muster-registry/muster/registry/membership/kubeclient"
)

var leases = kubeclient.Kind[*coordinationv1.Lease, *coordinationv1.LeaseList]{
	Resource: "leases", Group: coordinationv1.SchemeGroupVersion, Add: coordinationv1.AddToScheme,
	NewObject: func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
	NewList:   func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} },
}

// The small client speaks the API of its kind, over HTTP/1.1.
func TestClient(t *testing.T) {
	var asked []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Proto)
		w.Header().Set("Content-Type", "application/json")
		lease := `"apiVersion":"coordination.k8s.io/v1","metadata":{"name":"a","resourceVersion":"7"},"spec":{"renewTime":"2026-01-02T03:04:05.000006Z"}`
		switch {
		case r.URL.Query().Get("watch") != "":
			_, _ = io.WriteString(w, `{"type":"ADDED","object":{"kind":"Lease",`+lease+"}}\n")
		case strings.HasSuffix(r.URL.Path, "/leases"):
			_, _ = io.WriteString(w, `{"kind":"LeaseList","apiVersion":"coordination.k8s.io/v1","metadata":{"resourceVersion":"9"},"items":[{`+lease+`}]}`)
		default:
			_, _ = io.WriteString(w, `{"kind":"Lease",`+lease+"}")
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	api, err := kubeclient.New(leases, config, "ns")
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.Get(t.Context(), "a", metav1.GetOptions{})
	if err != nil || l.Spec.RenewTime.UnixMicro() != 1767323045000006 {
		t.Errorf("get: %+v (%v)", l, err)
	}
	list, err := api.List(t.Context(), metav1.ListOptions{LabelSelector: "a=b"})
	if err != nil || len(list.Items) != 1 || list.ResourceVersion != "9" {
		t.Errorf("list: %+v (%v)", list, err)
	}
	w, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "9"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != "ADDED" {
		t.Errorf("watch: %+v", e)
	}
	const base = "/apis/coordination.k8s.io/v1/namespaces/ns/leases"
	if d := cmp.Diff([]string{
		"GET " + base + "/a HTTP/1.1", "GET " + base + "?labelSelector=a%3Db HTTP/1.1", "GET " + base + "?resourceVersion=9&watch=true HTTP/1.1",
	}, asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
}

func TestOutsideACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, _, err := kubeclient.InCluster(leases, "ns"); err == nil || !strings.Contains(err.Error(), "membership.source: leases") {
		t.Errorf("error = %v, want one that names the source", err)
	}
}
