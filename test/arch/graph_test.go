// Package arch keeps the promises that no compiler checks: which package may import which, and the conventions of the
// code, and that what comments and documents cite is there. It reads the tree as it is, so a rule holds for a package from the day
// that the package appears. It has no code outside its tests.
package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/muster-registry/muster"

// pkg is what `go list -json` tells about a package.
type pkg struct {
	ImportPath                string
	Dir                       string
	Name                      string
	Standard                  bool
	Imports                   []string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
}

// short is the path below the module with "./" before it, as go commands write it; other paths stay as they are.
func short(path string) string {
	if path == module {
		return "."
	}
	if below, ok := strings.CutPrefix(path, module+"/"); ok {
		return "./" + below
	}
	return path
}

// graph is every package of a tree and all that they depend on, by short path.
type graph map[string]*pkg

// load asks the go command, with -e: a package that does not build is another test's failure.
func load(t *testing.T, dir string) graph {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Dir,Name,Standard,Imports,GoFiles,TestGoFiles,XTestGoFiles", "./...")
	cmd.Dir = dir
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", dir, err, failure.String())
	}
	g := graph{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		for i, imported := range p.Imports {
			p.Imports[i] = short(imported)
		}
		g[short(p.ImportPath)] = &p
	}
}

// ours lists the packages of the module.
func (g graph) ours() map[string]*pkg {
	own := map[string]*pkg{}
	for path, p := range g {
		if strings.HasPrefix(path, "./") {
			own[path] = p
		}
	}
	return own
}

// patterns is a list of import paths with blanks between them. "./x" is a package of ours, "x" any other; a trailing
// /... takes what lies below too, as in the go command; a * stands for a part of one path element.
type patterns string

func (ps patterns) match(path string) bool {
	for _, p := range strings.Fields(string(ps)) {
		if p == "./..." && strings.HasPrefix(path, "./") {
			return true
		}
		base, tree := strings.CutSuffix(p, "/...")
		head := path
		if n := strings.Count(base, "/") + 1; tree {
			if parts := strings.Split(path, "/"); len(parts) > n {
				head = strings.Join(parts[:n], "/")
			}
		}
		if ok, _ := filepath.Match(base, head); ok {
			return true
		}
	}
	return false
}

// violations checks every package that exists against every rule, and tells each with the way from one to the other.
func (g graph) violations(rules []rule) []string {
	var found []string
	for path := range g.ours() {
		for _, r := range rules {
			if !r.from.match(path) || r.unless.match(path) {
				continue
			}
			if way := g.reach(path, r); way != nil {
				found = append(found, fmt.Sprintf("%s: %s", strings.Join(way, " -> "), r.why))
			}
		}
	}
	return found
}

// reach finds a shortest way from a package to one that the rule forbids; nil when there is none.
func (g graph) reach(from string, r rule) []string {
	ways := [][]string{{from}}
	seen := map[string]bool{from: true}
	for len(ways) > 0 {
		way := ways[0]
		ways = ways[1:]
		p := g[way[len(way)-1]]
		if p == nil || (p.Standard && len(way) > 1) {
			continue
		}
		for _, next := range p.Imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			longer := slices.Concat(way, []string{next})
			if r.never.match(next) && !r.except.match(next) {
				return longer
			}
			if r.deep {
				ways = append(ways, longer)
			}
		}
	}
	return nil
}
