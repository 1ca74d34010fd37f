package model_test

import (
	"testing"

	"github.com/muster-registry/muster/registry/model"
)

// TestProtects is nacos-protocol §4.5, as 2.x has it.
func TestProtects(t *testing.T) {
	with := func(threshold float32) *model.Settings { return &model.Settings{ProtectThreshold: threshold} }
	for name, tt := range map[string]struct {
		settings       *model.Settings
		healthy, total int
		want           bool
	}{
		"nothing was said":       {nil, 0, 3, false},
		"at the threshold":       {with(0.5), 1, 2, true},
		"above":                  {with(0.5), 2, 3, false},
		"below":                  {with(0.5), 1, 3, true},
		"a tenth is no rounding": {with(0.1), 1, 10, true},
		"0, and none":            {with(0), 0, 3, true},
		"0, and one":             {with(0), 1, 3, false},
		"less than 0, and none":  {with(-1), 0, 3, true},
		"always":                 {with(1), 3, 3, true},
		"no instances":           {with(1), 0, 0, false},
	} {
		if got := tt.settings.Protects(tt.healthy, tt.total); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
