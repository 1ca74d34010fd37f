package link

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// BenchmarkRecords is what each of 100 records of a delta costs on its way out, and on its way in.
func BenchmarkRecords(b *testing.B) {
	m := replication.Message{Kind: replication.KindDelta}
	for i := range 100 {
		m.Entries = append(m.Entries, replication.Entry{Record: &model.Record{
			Key: model.RecordKey{
				Publisher: model.Publisher{Kind: model.KindConnection, Member: 7, ID: fmt.Sprintf("1700000000000_10.9.8.7_%d", 40000+i%20)},
				Service:   model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: fmt.Sprintf("service-%d", i)},
			},
			Version: model.Version{Stamp: 1 << 60, Origin: 7}, Client: &model.Client{IP: "10.9.8.7", Agent: "Nacos-Java-Client:v2.3.0", App: "shop"},
			Instances: []model.Instance{{
				IP: fmt.Sprintf("10.1.2.%d", i), Port: 8080, Cluster: "DEFAULT", ID: fmt.Sprintf("10.1.2.%d#8080#DEFAULT#DEFAULT_GROUP@@service-%d", i, i),
				Weight: 1, Healthy: true, Enabled: true, Metadata: model.MetadataOf(map[string]string{"version": "1.0.0", "zone": "a"}),
			}},
		}})
	}
	c := newCodec(nil)
	out := func(b *testing.B) mem.BufferSlice {
		data, err := c.Marshal(&m)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	b.Run("out", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; i < b.N; i += len(m.Entries) {
			data := out(b)
			data.Free()
		}
	})
	b.Run("in", func(b *testing.B) {
		data := out(b)
		in := incoming{texts: newInterner()}
		b.ReportAllocs()
		b.ResetTimer()
		for i := 0; i < b.N; i += len(m.Entries) {
			if err := c.Unmarshal(data, &in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
