// Package tools pins the programs that check the source, in a module of its own: what they
// need never enters the go.mod of the product. `make lint` builds and runs them.
package tools
