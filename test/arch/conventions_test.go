package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one parsed package: its files without the generated ones.
type source struct {
	path  string
	pkg   *pkg
	fset  *token.FileSet
	files map[string]*ast.File // by base name, without tests
	tests map[string]*ast.File
}

// convention is a rule about the text of a package. check returns one line a violation.
type convention struct {
	in     patterns
	unless patterns
	check  func(s source) []string
}

var conventions = map[string]convention{
	"every package says what it is for":              {in: "./...", check: hasDoc},
	"names say what a thing is":                      {in: "./...", check: hasName},
	"no init(): the composition root calls":          {in: "./...", check: noInit},
	"no default registry: many members, one process": {in: "./...", unless: "./test/...", check: noDefaultRegistry},
	"package variables are never assigned":           {in: "./api/... ./registry/... ./controllers/... ./cmd/...", check: noMutableVars},
	"metrics are muster_<package>_<noun>_<unit>":     {in: "./registry/... ./controllers/... ./cmd/...", check: hasMetricNames},
	"the core has no clock and no goroutine":         {in: core + " ./registry/model ./registry/member", check: noClock},
}

func TestConventions(t *testing.T) {
	for name, found := range broken(t, load(t, "../..")) {
		for _, v := range found {
			t.Errorf("%s: %s", name, v)
		}
	}
}

// broken returns the violations by convention.
func broken(t *testing.T, g graph) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for path, p := range g.ours() {
		s := parse(t, path, p)
		for name, c := range conventions {
			if c.in.match(path) && !c.unless.match(path) {
				found[name] = append(found[name], c.check(s)...)
			}
		}
	}
	for _, v := range found {
		slices.Sort(v)
	}
	return found
}

func parse(t *testing.T, path string, p *pkg) source {
	t.Helper()
	s := source{path: path, pkg: p, fset: token.NewFileSet(), files: map[string]*ast.File{}, tests: map[string]*ast.File{}}
	read := func(names []string, into map[string]*ast.File) {
		for _, name := range names {
			f, err := parser.ParseFile(s.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if !ast.IsGenerated(f) {
				into[name] = f
			}
		}
	}
	read(p.GoFiles, s.files)
	read(p.TestGoFiles, s.tests)
	read(p.XTestGoFiles, s.tests)
	return s
}

func (s source) at(n ast.Node, format string, args ...any) string {
	pos := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s/%s:%d: %s", s.path, filepath.Base(pos.Filename), pos.Line, fmt.Sprintf(format, args...))
}

// inspect calls see for every node of the files that are not tests.
func (s source) inspect(see func(file string, n ast.Node) string) []string {
	var found []string
	for name, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			if n != nil {
				if v := see(name, n); v != "" {
					found = append(found, v)
				}
			}
			return true
		})
	}
	return found
}

func hasDoc(s source) []string {
	files := s.files
	if len(files) == 0 {
		files = s.tests
	}
	for _, f := range files {
		if f.Doc != nil {
			return nil
		}
	}
	if len(files) == 0 {
		return nil // generated as a whole
	}
	return []string{s.path + ": no package comment"}
}

var emptyWords = []string{"util", "utils", "common", "base", "manager", "helper", "helpers", "misc", "shared", "types", "pkg", "internal"}

func hasName(s source) []string {
	var found []string
	for _, part := range strings.Split(s.path, "/") {
		if slices.Contains(emptyWords, part) {
			found = append(found, fmt.Sprintf("%s: %q says nothing", s.path, part))
		}
	}
	for _, files := range []map[string]*ast.File{s.files, s.tests} {
		for name := range files {
			if slices.Contains(emptyWords, strings.TrimSuffix(strings.TrimSuffix(name, ".go"), "_test")) {
				found = append(found, fmt.Sprintf("%s/%s: the name says nothing", s.path, name))
			}
		}
	}
	return found
}

func noInit(s source) []string {
	return s.inspect(func(_ string, n ast.Node) string {
		if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			return s.at(n, "init()")
		}
		return ""
	})
}

// selected returns "pkg.Name" for such an expression, by the name of the import in the file.
func selected(n ast.Node) string {
	if sel, ok := n.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

func noDefaultRegistry(s source) []string {
	global := []string{"prometheus.DefaultRegisterer", "prometheus.DefaultGatherer", "prometheus.MustRegister", "prometheus.Register", "http.DefaultServeMux", "http.HandleFunc", "http.Handle"}
	return s.inspect(func(_ string, n ast.Node) string {
		if name := selected(n); slices.Contains(global, name) {
			return s.at(n, "%s", name)
		}
		return ""
	})
}

// noClock lets model.Clock's real implementation and the loops live in the runner's files, and nowhere else.
func noClock(s source) []string {
	clock := []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.AfterFunc", "time.Tick", "time.NewTimer", "time.NewTicker"}
	return s.inspect(func(file string, n ast.Node) string {
		if s.path == "./registry/member" && strings.HasPrefix(file, "runner") {
			return ""
		}
		if name := selected(n); slices.Contains(clock, name) {
			return s.at(n, "%s", name)
		}
		if _, ok := n.(*ast.GoStmt); ok {
			return s.at(n, "go statement")
		}
		return ""
	})
}

var (
	metricName = regexp.MustCompile(`^muster(_[a-z]+){2,}$`)
	counter    = regexp.MustCompile(`_total$`)
	histogram  = regexp.MustCompile(`_(seconds|bytes|records|instances)$`)
)

// hasMetricNames reads the names where they are written, as text that begins with muster_ and as fields of options.
func hasMetricNames(s source) []string {
	return s.inspect(func(_ string, n ast.Node) string {
		if name := text(n); strings.HasPrefix(name, "muster_") && !metricName.MatchString(name) {
			return s.at(n, "%s", name)
		}
		options, ok := n.(*ast.CompositeLit)
		if !ok {
			return ""
		}
		kind, name := selected(options.Type), ""
		for _, element := range options.Elts {
			if field, ok := element.(*ast.KeyValueExpr); ok {
				if key, ok := field.Key.(*ast.Ident); ok && key.Name == "Name" {
					name = text(field.Value)
				}
			}
		}
		switch {
		case name == "":
			return ""
		case kind == "prometheus.CounterOpts" && !counter.MatchString(name), kind == "prometheus.GaugeOpts" && counter.MatchString(name):
			return s.at(n, "%s: a counter ends in _total, and nothing else does", name)
		case kind == "prometheus.HistogramOpts" && !histogram.MatchString(name):
			return s.at(n, "%s: a histogram ends in its unit", name)
		}
		return ""
	})
}

// text is the value of a string literal.
func text(n ast.Node) string {
	if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
		if value, err := strconv.Unquote(literal.Value); err == nil {
			return value
		}
	}
	return ""
}

// noMutableVars finds assignments to package variables, also through an index or a field. A call of a method that
// changes one escapes it.
func noMutableVars(s source) []string {
	global := map[string]bool{}
	own := map[any]bool{} // the objects of the package's scope
	for _, f := range s.files {
		for name, object := range f.Scope.Objects {
			if object.Kind == ast.Var {
				global[name], own[object] = true, true
			}
		}
	}
	changed := func(e ast.Expr) string {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				// A name of another file has no object, one of this file has that of the package's scope.
				if global[x.Name] && (x.Obj == nil || own[x.Obj]) {
					return x.Name
				}
				return ""
			default:
				return ""
			}
		}
	}
	return s.inspect(func(_ string, n ast.Node) string {
		var targets []ast.Expr
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				targets = n.Lhs
			}
		case *ast.IncDecStmt:
			targets = []ast.Expr{n.X}
		}
		for _, target := range targets {
			if name := changed(target); name != "" {
				return s.at(n, "assignment to package variable %s", name)
			}
		}
		return ""
	})
}
