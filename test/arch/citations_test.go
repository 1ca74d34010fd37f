package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What comments, tests and documents cite by a short name has to be where a reader looks for it.
const (
	scenariosFile = "docs/scenarios.md"
	protocolFile  = "docs/nacos-protocol.md"
	metricsFile   = "docs/metrics.md"
)

// citation is a way to cite: what it looks like, and what its target looks like in the file that it is about. The first group
// of either that is not empty is the name.
type citation struct {
	what   string
	cites  *regexp.Regexp
	in     string
	target *regexp.Regexp
}

var citations = []citation{
	{
		"a fault scenario", regexp.MustCompile(`\b(?:Test([PRLBS]\d{1,2})[A-Z]\w*|([PRLBS]\d{1,2}))\b`),
		scenariosFile, regexp.MustCompile(`(?m)^\| ([PRLBS]\d{1,2}) \|`),
	},
	{"a chapter", regexp.MustCompile(`§(\d+(?:\.\d+)*)`), protocolFile, regexp.MustCompile(`(?m)^##+ (\d+(?:\.\d+)*)[. ]`)},
	{"a trap", regexp.MustCompile(`\b[Tt]rap (\d+)`), protocolFile, regexp.MustCompile(`(?m)^(\d+)\. `)},
}

var (
	namesTest = regexp.MustCompile(`\b((?:Test|Fuzz)[A-Z]\w*)`)
	hasTest   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

var (
	namesMetric = regexp.MustCompile("`(muster(?:_[a-z]+){2,})[`{]")
	hasMetric   = regexp.MustCompile(`"(muster(?:_[a-z]+){2,})"`)
	listsMetric = regexp.MustCompile("(?m)^\\| `(muster(?:_[a-z]+){2,})[`{]")
)

func TestCitations(t *testing.T) {
	files := texts(t, "../..")
	for _, v := range slices.Concat(danglingCitations(files), strayMetrics(files)) {
		t.Error(v)
	}
}

// texts reads the files that people write and read, by path.
func texts(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == "bin" || name == "dist" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || name == "test/arch/citations_test.go": // it has examples of what is wrong
			return nil
		case slices.Contains([]string{".go", ".md", ".proto"}, filepath.Ext(name)):
			text, err := os.ReadFile(path)
			files[filepath.ToSlash(name)] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// danglingCitations returns what is cited and is not there: scenarios, chapters and traps anywhere, tests in the table of scenarios.
func danglingCitations(files map[string]string) []string {
	var found []string
	tests := map[string]bool{}
	for name, text := range files {
		if strings.HasSuffix(name, "_test.go") {
			for _, test := range groups(hasTest, text) {
				tests[test] = true
			}
		}
	}
	for _, name := range groups(namesTest, files[scenariosFile]) {
		if !tests[name] {
			found = append(found, scenariosFile+": a test that is nowhere: "+name)
		}
	}
	for _, c := range citations {
		targets := groups(c.target, files[c.in])
		for file, text := range files {
			for _, name := range groups(c.cites, text) {
				if !slices.Contains(targets, name) {
					found = append(found, file+": "+c.what+" that "+c.in+" does not have: "+name)
				}
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// strayMetrics returns the metrics of the programs that the table does not have, and those of documents that no program has.
func strayMetrics(files map[string]string) []string {
	var found, has []string
	listed := groups(listsMetric, files[metricsFile])
	for file, text := range files {
		if top, _, _ := strings.Cut(file, "/"); !slices.Contains([]string{"registry", "controllers", "cmd"}, top) || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, name := range groups(hasMetric, text) {
			if has = append(has, name); !slices.Contains(listed, name) {
				found = append(found, file+": a metric that "+metricsFile+" does not have: "+name)
			}
		}
	}
	for file, text := range files {
		if filepath.Ext(file) != ".md" {
			continue
		}
		for _, name := range groups(namesMetric, text) {
			if !slices.Contains(has, name) {
				found = append(found, file+": a metric that no program has: "+name)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// groups returns the first group of every match that is not empty.
func groups(expression *regexp.Regexp, text string) []string {
	var all []string
	for _, match := range expression.FindAllStringSubmatch(text, -1) {
		for _, group := range match[1:] {
			if group != "" {
				all = append(all, group)
				break
			}
		}
	}
	return all
}

func TestCitationChecks(t *testing.T) {
	files := map[string]string{
		scenariosFile: "| id | fault |\n| P1 | a cut | `TestP1Cut`, `TestGone` |\n| R1 | a rollout of P3 | `FuzzRollout` |\n",
		protocolFile:  "1. The first trap.\n2. The second.\n\n## 0. Conventions\n\n### 3.5 Requests\n\nSee §3.5, and §3.6.\n",
		"sim/cut_test.go": `package sim

// P1 and R1; P2: two cuts. HP1, P1x and 10P1 are none.
func TestP1Cut(t *testing.T) {}

func TestP4Both(t *testing.T) {}

func FuzzRollout(f *testing.F) {}
`,
		"grpc/doc.go":   "// Package grpc is nacos-protocol §3.5, §0 and §3.5.1. Trap 1, trap 2 (trap 3).\npackage grpc\n",
		"docs/chaos.md": "`L5` is played: B1's.\n",
	}
	want := []string{
		"docs/chaos.md: a fault scenario that docs/scenarios.md does not have: B1",
		"docs/chaos.md: a fault scenario that docs/scenarios.md does not have: L5",
		"docs/nacos-protocol.md: a chapter that docs/nacos-protocol.md does not have: 3.6",
		"docs/scenarios.md: a fault scenario that docs/scenarios.md does not have: P3",
		"docs/scenarios.md: a test that is nowhere: TestGone",
		"grpc/doc.go: a chapter that docs/nacos-protocol.md does not have: 3.5.1",
		"grpc/doc.go: a trap that docs/nacos-protocol.md does not have: 3",
		"sim/cut_test.go: a fault scenario that docs/scenarios.md does not have: P2",
		"sim/cut_test.go: a fault scenario that docs/scenarios.md does not have: P4",
	}
	if diff := cmp.Diff(want, danglingCitations(files)); diff != "" {
		t.Errorf("dangling (-want +got):\n%s", diff)
	}
}

func TestMetricChecks(t *testing.T) {
	files := map[string]string{
		metricsFile:                  "| `muster_push_sent_total{kind}` | lists |\n| `muster_push_gone` | nothing |\nSee `muster_push_told`.\n",
		"docs/push.md":               "`muster_push_sent_total`, `muster_push_*` and `muster_push_lost`.\n",
		"registry/push/meters.go":    "var names = []string{\"muster_push_sent_total\", \"muster_push_told\", \"muster-push\"}\n",
		"registry/push/push_test.go": "const none = \"muster_push_none\"\n",
		"test/load/load.go":          "const other = \"muster_load_sent_total\"\n",
	}
	want := []string{
		"docs/metrics.md: a metric that no program has: muster_push_gone",
		"docs/push.md: a metric that no program has: muster_push_lost",
		"registry/push/meters.go: a metric that docs/metrics.md does not have: muster_push_told",
	}
	if diff := cmp.Diff(want, strayMetrics(files)); diff != "" {
		t.Errorf("stray (-want +got):\n%s", diff)
	}
}
