// Command hello is a small program to make images of.
package main

var version string

func main() { println(version) }
