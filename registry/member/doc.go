// Package member is one whole member without sockets. Member is synchronous: adapters, peers, views, verdicts and ticks
// come in through its methods and go down to session, replication, catalog and push; the simulation drives it as it is.
// Runner adds what is real: the clock, the loops, the prober, the source of membership and the streams.
package member
