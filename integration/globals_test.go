package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// constants are package variables that count as never changed though their form does not say
// so. Each has its reason.
var constants = map[string]string{
	"backend/local.heads":           "a pool of buffers: what is in it means nothing",
	"backend/backendtest.someAttrs": "what a store does with attributes given by address is part of the test",
}

// TestNoMutableGlobals finds package variables that something changes, or that hold what
// changes by itself (locks, pools, counters), and init functions.
func TestNoMutableGlobals(t *testing.T) {
	packages := map[string][]source{}
	for _, f := range sources(t) {
		if !f.test {
			packages[f.dir] = append(packages[f.dir], f)
		}
	}
	for dir, files := range packages {
		for _, complaint := range globals(dir, files) {
			t.Error(complaint)
		}
	}
}

// globals returns what is wrong with the package level of one package.
func globals(dir string, files []source) []string {
	var wrong []string
	names := map[string]bool{}
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					wrong = append(wrong, f.fset.Position(d.Pos()).String()+": init function")
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if name.Name == "_" || embedded(d, v) {
							continue
						}
						if constants[dir+"."+name.Name] != "" {
							continue
						}
						names[name.Name] = true
						if !fixed(v, i) {
							wrong = append(wrong, f.fset.Position(name.Pos()).String()+": package variable "+name.Name+" is no error, table or pattern")
						}
					}
				}
			}
		}
	}
	for _, f := range files {
		wrong = append(wrong, changed(f, names)...)
	}
	return wrong
}

// fixed reports whether the i-th value of v is an error, a compiled pattern or a literal table.
func fixed(v *ast.ValueSpec, i int) bool {
	if i >= len(v.Values) {
		return false
	}
	switch x := v.Values[i].(type) {
	case *ast.CompositeLit:
		return !strings.HasPrefix(text(x.Type), "sync.") && !strings.HasPrefix(text(x.Type), "atomic.")
	case *ast.CallExpr:
		switch text(x.Fun) {
		case "errors.New", "errors.Join", "fmt.Errorf", "regexp.MustCompile", "template.Must", "strings.NewReplacer", "crc64.MakeTable", "crc32.MakeTable":
			return true
		}
	}
	return false
}

func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// changed finds assignments to the package variables in names, and their addresses taken. A
// local variable of the same name is reported too: it should have another name.
func changed(f source, names map[string]bool) []string {
	var wrong []string
	report := func(e ast.Expr, how string) {
		if name := base(e); names[name] {
			wrong = append(wrong, f.fset.Position(e.Pos()).String()+": package variable "+name+" is "+how)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					report(e, "assigned to")
				}
			}
		case *ast.IncDecStmt:
			report(n.X, "changed")
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				report(n.X, "shared by its address")
			}
		case *ast.CallExpr:
			if fun := text(n.Fun); (fun == "delete" || fun == "clear") && len(n.Args) > 0 {
				report(n.Args[0], "emptied")
			}
		}
		return true
	})
	return wrong
}

// base is the variable an expression begins with: x of x, x[i], x.f, *x.
func base(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x.Name
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return ""
		}
	}
}

// text is the name an expression is written as: f or pkg.f.
func text(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return text(x.X) + "." + x.Sel.Name
	case *ast.StarExpr:
		return text(x.X)
	}
	return ""
}

// TestGlobalsAreFound shows that the search for mutable globals finds them.
func TestGlobalsAreFound(t *testing.T) {
	for _, tt := range []struct{ name, code, want string }{
		{"error", `var ErrX = errors.New("x")`, ""},
		{"table", `var days = map[string]int{"mon": 1}`, ""},
		{"assertion", `var _ fmt.Stringer = T{}`, ""},
		{"embedded", "//go:embed x\nvar page string", ""},
		{"init", `func init() {}`, "init function"},
		{"counter", `var n int`, "no error, table or pattern"},
		{"value that should be a const", `var n = 5`, "no error, table or pattern"},
		{"lock", `var mu = sync.Mutex{}`, "no error, table or pattern"},
		{"table that changes", "var m = map[string]int{}\nfunc f() { m[\"a\"] = 1 }", "assigned to"},
		{"table that is emptied", "var m = map[string]int{}\nfunc f() { delete(m, \"a\") }", "emptied"},
		{"address", "var t = T{}\nfunc f() *T { return &t }", "shared by its address"},
		{"count in a table", "var m = []int{1}\nfunc f() { m[0]++ }", "changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "x.go", "package x\n"+tt.code, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(globals("x", []source{{"x.go", "x", false, f, fset}}), "\n")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("globals(%q) = %q, want %q", tt.code, got, tt.want)
			}
		})
	}
}
