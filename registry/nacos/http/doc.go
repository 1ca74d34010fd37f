// Package http speaks HTTP v1 of Nacos as 2.5.1 does: instances, beats, lists, service names, the server's status,
// settings of services, health and login, on port 8848 below /nacos. It translates between requests and the member and
// decides nothing.
//
// What this registry does not do yet is refused the way Nacos refuses what it does not have, so that clients take
// another way, and never accepted and dropped: persistent instances (ephemeral=false) with the text of a kind conflict,
// selectors of services with 400, everything else below /v1/ns with 501 (PATCH, metadata batches, statuses, services
// without instances, catalog, switches), all other paths with 404 (v2, v3, configuration).
//
// A list with udpPort is answered like any other, but no datagram follows: 1.x clients ask again every cacheMillis. The
// parameter encoding is ignored, parameters are UTF-8.
//
// A panic ends a request, which is answered with 500, and nothing else: see docs/adr/0017.
package http
