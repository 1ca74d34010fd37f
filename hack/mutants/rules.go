package main

// rule is one of the design, and how to switch it off.
type rule struct {
	// name says what holds; place is where the design says so.
	name, place string
	edits       []edit
	// by catches it, and says something that matches says.
	by   witness
	says string
}

const (
	architecture = "docs/architecture.md"
	session      = "session/DESIGN.md"
	replication  = "replication/DESIGN.md"
)

// rules are those that the simulation is known to notice.
func rules() []rule {
	return []rule{
		{
			name: "a loss while a member cannot be reached is ours", place: session,
			edits: []edit{{"registry/session/connection.go", "if ours || t.cut(now, now.Mono) {", "if ours {"}},
			by:    witness{script: "TestR3Kills"}, says: "no ghost outlives its bound",
		},
		{
			name: "what comes in late is not silence", place: "adr/0018",
			edits: []edit{{"registry/session/table.go", "t.removeFrom = max(t.removeFrom, until)", "_ = until"}},
			by:    witness{script: "TestR4Starved"}, says: "is unhealthy",
		},
		{
			name: "what others read late is a cut", place: "adr/0018",
			edits: []edit{{"registry/session/cut.go", "return s.Strained\n", "return s.Strained && false\n"}},
			by:    witness{script: "TestR4Starved"}, says: "is unhealthy",
		},
		{
			name: "silence of beats during a cut is ours", place: session,
			edits: []edit{{"registry/session/beats.go", "if t.cut(now, last) {\n\t\treturn true", "if t.cut(now, last) && false {\n\t\treturn true"}},
			by:    witness{script: "TestP2MemberCutOff"}, says: "false removal",
		},
		{
			name: "the records of a member that is gone are unclaimed by us", place: architecture,
			edits: []edit{{"registry/session/table.go", "return cur.WithUnclaimed(model.CauseOurs, now.Mono)", "return cur.WithUnclaimed(model.CausePublisher, now.Mono)"}},
			by:    witness{script: "TestP12AdoptedWhileRemoved"}, says: "the record of a member that is gone is",
		},
		{
			name: "whoever removes for another kills the version it saw", place: session,
			edits: []edit{{
				"registry/session/claims.go",
				"cur.Version != seen.Version || cur.Unclaimed == model.Vouched {\n\t\t\treturn nil\n\t\t}\n\t\treturn cur.Tombstone(cur.Version)",
				"cur.Version != seen.Version || cur.Unclaimed == model.Vouched {\n\t\t\treturn nil\n\t\t}\n\t\treturn cur.Tombstone(t.said(now))",
			}},
			by: witness{script: "TestP12AdoptedWhileRemoved"}, says: "loses what it has adopted",
		},
		{
			name: "what a record supersedes ends in one step with it", place: "adr/0004",
			edits: []edit{{"registry/catalog/store.go", "for _, sup := range r.Supersedes() {", "for _, sup := range r.Supersedes()[:0] {"}},
			by:    witness{script: "TestP9MovesBehindACut"}, says: "no ghost after the heal",
		},
		{
			name: "a record carries what it supersedes", place: replication,
			edits: []edit{{"registry/session/connection.go", "addSuperseded(had, superseded), nil), Answered", "had, nil), Answered"}},
			by:    witness{script: "TestP9MovesBehindACut"}, says: "no ghost after the heal",
		},
		{
			name: "a tombstone keeps its successor", place: session,
			edits: []edit{{"registry/session/elsewhere.go", "[]model.Superseded{older}), cur.Successor())", "[]model.Superseded{older}), next.Successor())"}},
			by:    witness{seed: 446, members: 4, kinds: 16, roamers: 2}, says: "false removal",
		},
		{
			name: "of two publishers seen twice the older origin is asked first", place: session,
			edits: []edit{{"registry/session/elsewhere.go", "if r.Unclaimed != model.Vouched || !t.canAsk(r.Version.Origin) {", "if true {"}},
			by:    witness{script: "TestTwoConnectionsOfOneProcess"}, says: "whose origin m0 is alive and reachable",
		},
		{
			name: "an origin stamps again what others removed or marked", place: session,
			edits: []edit{{"registry/session/origin.go", "if t.restamps[key] {\n\t\treturn nil", "if true {\n\t\treturn nil"}},
			by:    witness{script: "TestP13IsolatedMember"}, says: "false removal",
		},
		{
			name: "who ends a record is its origin, while that is a member", place: session,
			edits: []edit{{"registry/session/claims.go", "if t.view.Has(r.Version.Origin) {", "if false {"}},
			by:    witness{script: "TestP1LinkCut"}, says: "whose origin m0 is a member",
		},
		{
			name: "the grace of a lost member begins anew at the heal", place: session,
			edits: []edit{{"registry/session/claims.go", "return max(r.Since, t.healed()) + t.opts.Timeouts.MemberLoss", "return r.Since + t.opts.Timeouts.MemberLoss"}},
			by:    witness{script: "TestP9SlowHeal"}, says: "false removal",
		},
		{
			name: "a member that went without a word may serve on", place: "adr/0014",
			edits: []edit{{"registry/session/table.go", "t.lost = now.Mono\n", "t.lost = t.lost + 0\n"}},
			by:    witness{script: "TestP13IsolatedMember"}, says: "false removal",
		},
		{
			name: "vouching never covers what was said since", place: architecture,
			edits: []edit{{"registry/model/record.go", "cmp.Or(cmp.Compare(v.Said, o.Said), ", "cmp.Or("}},
			by:    witness{script: "TestP1ChangeBehindCut"}, says: "shows weight 1 of client",
		},
		{
			name: "what ports answer decides, not silence alone", place: session,
			edits: []edit{{"registry/session/claims.go", "case answer == PortAccepted || answer == PortUnknown || answer == PortSilent && r.Answered:", "case answer == PortUnknown:"}},
			by:    witness{script: "TestR2Scale"}, says: "false removal",
		},
		{
			name: "python clients have the time that they need", place: session,
			edits: []edit{{"registry/session/claims.go", "case python(r.By()):", "case false:"}},
			by:    witness{script: "TestRedoInTime"}, says: "false removal",
		},
		{
			name: "a Lease ages only while the own renewals come back", place: architecture,
			edits: []edit{
				{"registry/membership/leases.go", "if !h.expired && l.ownSeen-h.seen > l.goneAfter {", "if !h.expired && now.Mono-h.seen > l.goneAfter {"},
				{"registry/membership/leases.go", "Reachable: l.ownKnown && now.Mono-l.ownSeen <= l.silence()", "Reachable: l.ownKnown"},
			},
			by: witness{script: "TestP13IsolatedMember"}, says: "the view of the isolated member has",
		},
		{
			name: "a live stream vetoes gone", place: architecture,
			edits: []edit{{"registry/membership/settle.go", "if t.streaming(inc) {\n\t\t\tcontinue", "if false {\n\t\t\tcontinue"}},
			by:    witness{script: "TestP4CutOffFromAPIOnly"}, says: "everybody is in every view",
		},
		{
			name: "whoever was gone takes a new incarnation", place: architecture,
			edits: []edit{{"registry/member/member.go", "gone := m.tracker.WasGone(p.Incarnation)", "gone := false && m.tracker.WasGone(p.Incarnation)"}},
			by:    witness{script: "TestR4Frozen"}, says: "not converged",
		},
		{
			name: "nobody pushes who is not complete", place: architecture,
			edits: []edit{{"registry/member/member.go", "m.hub.SetOpen(reads)", "m.hub.SetOpen(true)"}},
			by:    witness{script: "TestR5AllDeleted"}, says: "tells a list without client",
		},
		{
			name: "a cold start holds its reads until clients are back", place: architecture,
			edits: []edit{{"registry/member/life.go", "if now.Mono-m.life.coldSince >= t.ColdStartLimit {", "if true {"}},
			by:    witness{script: "TestR5AllDeleted"}, says: "tells a list without client",
		},
		{
			name: "records that differ are found and repaired", place: replication,
			edits: []edit{{"registry/replication/digest.go", "if !e.walks(now, p, answers) {", "if !e.walks(now, p, 0) {"}},
			by:    witness{script: "TestP1LinkCut"}, says: "reaches the other side through the third member",
		},
		{
			name: "no clock falls behind one that it has heard", place: replication,
			edits: []edit{{"registry/replication/engine.go", "e.hlc.Observe(now, m.Stamp)\n", ""}},
			by:    witness{script: "TestP8ClockJumps"}, says: "show the newest of each client",
		},
		{
			name: "an answer to a subscription is stamped when it is given", place: architecture,
			edits: []edit{{"registry/catalog/snapshot.go", "svc.given = max(svc.given, snap.Revision, s.opts.Revise(now))", "svc.given = max(svc.given, snap.Revision)"}},
			by:    witness{script: "TestP8ClockJumps"}, says: "revision of orders goes from",
		},
		{
			name: "a clock that steps back stands still for nothing", place: architecture,
			edits: []edit{{"registry/model/time.go", "return uint64(max(mono+h.ahead(mono, now.Wall-mono), 0)) << logicalBits", "return uint64(max(now.Wall, 0*h.ahead(mono, now.Wall-mono))) << logicalBits"}},
			by:    witness{script: "TestP8ClockJumps"}, says: "revision of orders goes from",
		},
		{
			name: "how long nobody vouches travels as an age", place: replication,
			edits: []edit{{"registry/replication/engine.go", "WithUnclaimed(en.Record.Unclaimed, now.Mono-max(en.Age, 0))", "WithUnclaimed(en.Record.Unclaimed, en.Record.Since)"}},
			by:    witness{script: "TestR3Kills"}, says: "no ghost outlives its bound",
		},
		{
			name: "two members never out-stamp each other", place: session,
			edits: []edit{{"registry/session/origin.go", "case !c.New.Deleted && c.New.Unclaimed == model.Vouched:", "case own && !c.New.Deleted && c.New.Unclaimed == model.Vouched:"}},
			by:    witness{seed: 49179, members: 7, kinds: 15, factor: 2}, says: "stamped more than",
		},
		{
			name: "a clock that ran ahead is seen through", place: session,
			edits: []edit{{"registry/session/origin.go", "!t.opts.HLC.Misled(", "true || !t.opts.HLC.Misled("}},
			by:    witness{script: "TestP8EndedBehindACut"}, says: "false removal",
		},
		{
			name: "after a long pause a member joins again", place: "adr/0011",
			edits: []edit{{"registry/member/member.go", "if gap >= m.opts.Timeouts.Rejoin {", "if false {"}},
			by:    witness{script: "TestR4FrozenWithoutAPI"}, says: "tells what it held before it slept",
		},
		{
			name: "a beat from before a pause brings nothing back", place: session,
			edits: []edit{{"registry/session/origin.go", "case !awake, now", "case !awake && false, now"}},
			by:    witness{script: "TestR4DiedDuringTheSleep"}, says: "nobody lists the dead",
		},
		{
			name: "a tombstone never travels ahead of its successor", place: replication,
			edits: []edit{{"registry/replication/engine.go", "len(chain) <= maxSuccession; {", "len(chain) <= maxSuccession && false; {"}},
			by:    witness{script: "TestP15Rollout"}, says: "false removal",
		},
		{
			name: "who joins is passed on what changes meanwhile", place: replication,
			edits: []edit{{"registry/replication/shares.go", "case ifJoining && p.heard && !p.status.Complete:", "case false:"}},
			by:    witness{script: "TestP10NewcomerBehindACut"}, says: "is complete and does not list",
		},
		{
			name: "an answer that a stream has kept for long may be old", place: replication,
			edits: []edit{{"registry/replication/exchange.go", "return true, p.gaps != p.exchangeGaps", "return true, false"}},
			by:    witness{seed: 31375, members: 3, kinds: 15, factor: 3}, says: "false removal",
		},
		{
			name: "a beat goes to somebody who knows its publisher", place: "adr/0012",
			edits: []edit{{"registry/member/beats.go", "if !here && m.engine.Lacks(to, b.Service.Shard()) {", "if false && m.engine.Lacks(to, b.Service.Shard()) {"}},
			by:    witness{script: "TestBeatsByAnOldView"}, says: "false removal",
		},
		{
			name: "those that are estranged are not nobody", place: "adr/0009",
			edits: []edit{{"registry/member/life.go", "for _, p := range m.tracker.Estranged() {\n\t\tif p.State != model.StateStarting {", "for _, p := range m.tracker.Estranged() {\n\t\tif false {"}},
			by:    witness{script: "TestR4WokenBesideAnEstranged"}, says: "starts alone though m0 is complete",
		},
		{
			name: "nobody is there when the source says so, not a clock", place: "adr/0009",
			edits: []edit{{"registry/membership/unmet.go", "spoke := t.spoke", "spoke := now.Mono"}},
			by:    witness{script: "TestR4WokenBySilence"}, says: "starts alone though m0 is complete",
		},
		{
			name: "nobody is removed for silence before all were heard", place: "adr/0005",
			edits: []edit{{"registry/session/claims.go", "if !refuted && !t.heardSince(deadline) {", "if false && !t.heardSince(deadline) {"}},
			by:    witness{script: "TestP9BackBehindAFreshCut"}, says: "false removal",
		},
	}
}
