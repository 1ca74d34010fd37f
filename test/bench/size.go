package main

import (
	"fmt"
	"time"
)

// size is how much is done for each figure.
type size struct {
	name   string
	rounds int // of limit and registry in turn, each with servers of its own

	connections int // of the generator
	services    int // registered over gRPC in a round
	queries     int
	asked       int // services that the queries are for
	web         int // operations over HTTP in a round
	beating     int // instances that the beats are for

	pushes      int // changes in a round, one after the other
	pushEvery   time.Duration
	subscribers int
	crowded     int // instances of the service that is fanned out
	fans        int // its changes in a round

	idle      int // connections that do nothing
	instances int // of a full registry
	steady    time.Duration
	tombstone time.Duration
	giveBack  time.Duration // how long memory may take to go
	settle    time.Duration // until a process that was busy is quiet
	// afterLast is how long after the last operation its cost still counts.
	afterLast time.Duration
}

const (
	listed     = 10 // instances of a service that is asked for
	perService = 10 // instances of each service of a full registry
	// pushWindow is what the servers have: a change comes when the window of the one before is over.
	pushWindow = 50 * time.Millisecond
)

func sizeOf(name string) (size, error) {
	switch name {
	case "full":
		return size{
			name: name, rounds: 3, connections: 50, services: 100_000, queries: 100_000, asked: 1000, web: 50_000, beating: 10_000,
			pushes: 100, pushEvery: 2 * pushWindow, subscribers: 500, crowded: 1000, fans: 10,
			idle: 10_000, instances: 1_000_000, steady: time.Minute, tombstone: time.Minute, giveBack: 4 * time.Minute,
			settle: 5 * time.Second, afterLast: 2 * time.Second,
		}, nil
	case "short":
		return size{
			name: name, rounds: 1, connections: 50, services: 10_000, queries: 20_000, asked: 1000, web: 10_000, beating: 2000,
			pushes: 50, pushEvery: 2 * pushWindow, subscribers: 50, crowded: 1000, fans: 5,
			idle: 1000, instances: 50_000, steady: 10 * time.Second, tombstone: 5 * time.Second, giveBack: time.Minute,
			settle: 2 * time.Second, afterLast: 2 * time.Second,
		}, nil
	}
	return size{}, fmt.Errorf("-size: %q is neither full nor short", name)
}
