package fstest

import (
	"path"
	"strings"
	"syscall"
)

// A node is what a path stands for. Directories are derived from keys: prefixes that end in
// "/", whether or not there is an object of that name, their marker.
type node struct {
	key   string // of a directory: what the keys in it begin with, "" for the root
	dir   bool
	file  *file // of a directory: its marker, or nil
	names map[string]*node
}

// tree derives the directories and files that view, objects by key, must be seen as.
func tree(view map[string]*file) *node {
	root := &node{dir: true, names: map[string]*node{}}
	for key, f := range view { // directories first: they decide what files are called
		if dir, comp := root.descend(key); comp == "" {
			dir.file = f
		}
	}
	for key, f := range view {
		dir, comp := root.descend(key)
		switch {
		case comp == "" && f.now.data == "":
		case comp == "":
			dir.names["%thaw-data"] = &node{key: key, file: f}
		case dir.names[element(comp)] != nil && dir.names[element(comp)].dir:
			dir.names["%thaw-file-"+comp] = &node{key: key, file: f}
		default:
			dir.names[element(comp)] = &node{key: key, file: f}
		}
	}
	return root
}

// descend returns the directory that key lies in, made if need be, and what follows its last
// slash.
func (root *node) descend(key string) (dir *node, comp string) {
	dir = root
	for {
		first, rest, deeper := strings.Cut(key, "/")
		if !deeper {
			return dir, first
		}
		next := dir.names[element(first)]
		if next == nil {
			next = &node{key: dir.key + first + "/", dir: true, names: map[string]*node{}}
			dir.names[element(first)] = next
		}
		dir, key = next, rest
	}
}

// element is the name of a directory or file that a component of a key is shown under.
func element(comp string) string {
	switch comp {
	case "":
		return "%thaw-empty"
	case ".":
		return "%thaw-dot"
	case "..":
		return "%thaw-dotdot"
	}
	return comp
}

// component is the part of a key that something new of this name gets; ok is false if nothing
// can have it.
func component(name string, dir bool) (comp string, ok bool) {
	switch name {
	case "%thaw-empty":
		return "", dir // no file: that would be the marker of the directory it lies in
	case "%thaw-dot":
		return ".", true
	case "%thaw-dotdot":
		return "..", true
	}
	return name, !strings.HasPrefix(name, "%thaw-")
}

// A place is where a path leads: to a node in dir, or to where one could be made.
type place struct {
	dir  *node
	name string
	node *node // nil if there is none
}

// find follows p as the kernel does, through links in between and, if follow is set, at
// its end. An absent last element is no error.
func (root *node) find(p string, follow bool) (place, syscall.Errno) {
	const maxLinks = 40
	dir, elems, links := root, strings.Split(p, "/"), 0
	for {
		at := place{dir: dir, name: elems[0], node: dir.names[elems[0]]}
		last := len(elems) == 1
		switch {
		case at.node == nil && last:
			return at, 0
		case at.node == nil:
			return at, syscall.ENOENT
		case at.node.isLink() && (!last || follow):
			if links++; links > maxLinks {
				return at, syscall.ELOOP
			}
			elems = append(strings.Split(path.Clean(at.node.file.now.target), "/"), elems[1:]...)
			continue
		case last:
			return at, 0
		case !at.node.dir:
			return at, syscall.ENOTDIR
		}
		dir, elems = at.node, elems[1:]
	}
}

// newKey is the key that something new at the place gets, without a "/" at the end.
func (at place) newKey(dir bool) (key string, ok bool) {
	comp, ok := component(at.name, dir)
	return at.dir.key + comp, ok
}

func (n *node) isLink() bool { return n != nil && !n.dir && n.file.now.target != "" }

// each calls do for all nodes below n with their paths, parents first.
func (n *node) each(prefix string, do func(path string, n *node)) {
	for name, child := range n.names {
		do(prefix+name, child)
		if child.dir {
			child.each(prefix+name+"/", do)
		}
	}
}
