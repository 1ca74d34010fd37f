package codec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPage(t *testing.T) {
	abc := []string{"a", "b", "c"}
	tests := map[string]struct {
		names        []string
		number, size int64
		want         []string
	}{
		"first":     {abc, 1, 2, []string{"a", "b"}},
		"second":    {abc, 2, 2, []string{"c"}},
		"third":     {abc, 3, 2, []string{}},
		"zeroth":    {abc, 0, 2, []string{"a", "b"}},
		"negative":  {abc, -7, 2, []string{"a", "b"}},
		"size 0":    {abc, 1, 0, []string{}},
		"nothing":   {nil, 1, 2, []string{}},
		"very many": {abc, 1 << 31, 1 << 31, []string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Page(tt.names, tt.number, tt.size)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}
