package arch

import (
	"slices"
	"testing"
)

// rule says what packages must never import. Test files are free.
type rule struct {
	from   patterns // the packages that it is about
	unless patterns // but not these
	never  patterns // what they must not import
	except patterns // but this is fine
	deep   bool     // not through other packages either
	why    string
}

const (
	core     = "./registry/ring ./registry/catalog ./registry/replication ./registry/session ./registry/push"
	adapters = "./registry/nacos/... ./registry/console/... ./registry/syncer/..."
)

// rules go from the bottom up. What is not listed is not restricted: a new package that needs a rule brings it along.
var rules = []rule{
	// Layer 0: contracts and values.
	{from: "./api/wellknown", never: "./... */...", why: "constants only"},
	{from: "./api/config/...", never: "./...", except: "./api/wellknown", why: "the file format knows neither program"},
	{from: "./api/v1alpha1", never: "./...", except: "./api/wellknown ./api/config/...", why: "the kinds know neither program"},
	{from: "./registry/model", never: "./... net net/http context log log/...", why: "the model is values"},

	// Layer 1: on the model only; sub-packages may use the outside world.
	{
		from:  "./registry/ring ./registry/auth ./registry/catalog ./registry/health ./registry/membership ./registry/persist",
		never: "./...", except: "./registry/model", why: "the first layer stands on the model alone",
	},
	{
		from:  "./registry/membership/*/... ./registry/persist/*/... ./registry/auth/*/... ./registry/health/*/...",
		never: "./...", except: "./api/... ./registry/model ./registry/membership/... ./registry/persist/... ./registry/auth/... ./registry/health/...",
		why: "an implementation knows its own seam and the contracts",
	},

	// Layers 2 and 3.
	{from: "./registry/replication", never: "./...", except: "./registry/model ./registry/catalog ./registry/ring", why: "the engine stands on catalog and ring"},
	{from: "./registry/push", never: "./...", except: "./registry/model ./registry/catalog", why: "push reads snapshots and knows nothing else"},
	{from: "./registry/session", never: "./...", except: "./registry/model ./registry/catalog ./registry/ring ./registry/replication", why: "sessions stand on replication"},
	{from: core, never: "google.golang.org/grpc/... net/http", deep: true, why: "the core has no network"},
	{from: core, never: "math/rand math/rand/v2 crypto/rand", why: "randomness comes in as a value, so that a run can be replayed from its seed"},

	// Layer 4: one whole member without sockets.
	{
		from: "./registry/member", never: "./...", except: "./registry/model " + core + " ./registry/auth/... ./registry/health/... ./registry/membership ./registry/persist",
		why: "a member is the layers below it and nothing else",
	},
	{from: "./registry/member", never: "google.golang.org/grpc/... net/http", deep: true, why: "the simulator drives whole members: they have no network"},
	{from: "./registry/replication/peerpb", never: "./...", why: "wire types"},
	{
		from: "./registry/replication/link", never: "./...", except: "./registry/model ./registry/replication ./registry/replication/peerpb ./registry/membership/peerkey ./api/wellknown",
		why: "the streams are handed a function for what they receive",
	},

	// Layer 5: adapters translate, they decide nothing, and one protocol must not fix another's bug.
	{
		from: adapters, never: "./registry/replication/... ./registry/ring ./registry/membership/... ./registry/session ./registry/health/... ./registry/persist/... ./registry/server",
		why: "adapters go through the member",
	},
	{from: "./registry/nacos/http/...", never: "./registry/nacos/... ./registry/console/... ./registry/syncer/...", except: "./registry/nacos/http/... ./registry/nacos/codec", why: "adapters do not know each other"},
	{from: "./registry/nacos/grpc/...", never: "./registry/nacos/... ./registry/console/... ./registry/syncer/...", except: "./registry/nacos/grpc/... ./registry/nacos/codec ./registry/nacos/*pb", why: "adapters do not know each other"},
	{from: "./registry/nacos/udp/...", never: "./registry/nacos/... ./registry/console/... ./registry/syncer/...", except: "./registry/nacos/udp/... ./registry/nacos/codec", why: "adapters do not know each other"},
	{from: "./registry/console/...", never: "./registry/nacos/... ./registry/syncer/...", why: "adapters do not know each other"},
	{from: "./registry/syncer/...", never: "./registry/nacos/... ./registry/console/...", why: "adapters do not know each other"},

	// Two programs, one contract.
	{from: "./controllers/... ./cmd/operator", never: "./registry/...", deep: true, why: "two programs that share only api/"},
	{from: "./registry/... ./cmd/registry", never: "./controllers/...", deep: true, why: "two programs that share only api/"},
	{from: "./controllers/desired", never: "sigs.k8s.io/controller-runtime/... k8s.io/client-go/...", why: "desired objects are a pure function"},
	{from: "./controllers/desired", never: "./...", except: "./api/...", why: "desired objects are a pure function of the spec and what was observed"},

	// The server starts without a cluster, small.
	{from: "./registry/... ./cmd/registry", never: "sigs.k8s.io/controller-runtime/...", deep: true, why: "the server is small and starts without a cluster"},
	{
		from: "./registry/...", unless: "./registry/membership/kubeclient ./registry/persist/kube ./registry/syncer/kube ./registry/auth/...",
		never: "k8s.io/client-go/...", why: "only what talks to Kubernetes knows its client",
	},

	// Everywhere.
	{
		from: "./...", unless: "./test/... ./registry/*/*test ./registry/*test ./controllers/*test", never: "testing testing/... ./test/... ./registry/*/*test ./registry/*test ./controllers/*test pgregory.net/rapid github.com/google/go-cmp/... github.com/onsi/...",
		why: "programs do not carry their tests",
	},
	{from: "./...", unless: "./cmd/... ./hack/... ./test/...", never: "./cmd/... ./hack/...", why: "programs are at the top"},
	{
		from: "./...", never: "github.com/stretchr/testify/... github.com/pkg/errors go.uber.org/zap/... github.com/sirupsen/logrus github.com/prometheus/client_golang/prometheus/promauto",
		why: "one way to do each thing: go-cmp or gomega, errors, slog or logr, a passed Registerer",
	},
}

func TestImports(t *testing.T) {
	found := load(t, "../..").violations(rules)
	slices.Sort(found)
	for _, v := range found {
		t.Error(v)
	}
}
