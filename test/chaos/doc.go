// Package chaos tests members as they ship, with faults as they happen: the program cmd/registry in network namespaces of
// its own, the real nacos-sdk-go and clients that beat, cut links, killed and stopped processes. Each test is a row of the
// fault scenarios and reports how many instances were falsely removed (F), how long the members took to agree after the
// heal (C) and how many ghosts outlived their bound (G). docs/chaos.md says how to run and read it.
package chaos
