package grpc

import (
	"strconv"

	"github.com/muster-registry/muster/registry/nacos/codec"
)

// What is sent: answers, and requests of ours. First the JSON that is always the same, and that around shared lists.
var (
	plainResponse   = []byte(`{"resultCode":200,"errorCode":0,"success":true}`)
	queryHead       = []byte(`{"resultCode":200,"errorCode":0,"serviceInfo":`)
	subscribeHead   = []byte(`{"resultCode":200,"errorCode":0,"message":"success","serviceInfo":`)
	responseTail    = []byte(`,"success":true}`)
	notifyTail      = []byte(`,"module":"naming"}`)
	setupAckRequest = []byte(`{"headers":{},"abilityTable":{"supportPersistentInstanceByGrpc":false},"module":"internal"}`)
)

func serverCheckResponse(id string) []byte {
	b := codec.AppendString([]byte(`{"resultCode":200,"errorCode":0,"connectionId":`), id)
	return append(b, `,"supportAbilityNegotiation":true,"success":true}`...)
}

func typedResponse(kind string) []byte {
	b := codec.AppendString([]byte(`{"resultCode":200,"errorCode":0,"type":`), kind)
	return append(b, responseTail...)
}

func serviceListResponse(count int, names []string) []byte {
	b := strconv.AppendInt([]byte(`{"resultCode":200,"errorCode":0,"count":`), int64(count), 10)
	b = append(b, `,"serviceNames":[`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(b, name)
	}
	return append(append(b, ']'), responseTail...)
}

// notifyHead begins a NotifySubscriberRequest, internalRequest is all of a request that has no content.
func notifyHead(id uint64) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	return append(b, `","serviceInfo":`...)
}

// connectReset names a server that is in nobody's list, so that clients go to the next one of theirs. One without a
// server would keep Go clients: they check the present connection first, and stay when it answers.
func connectReset(id uint64, connection string) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	b = codec.AppendString(append(b, `","serverIp":"0.0.0.0","serverPort":"0","connectionId":`...), connection)
	return append(b, `,"module":"internal"}`...)
}

func internalRequest(id uint64) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	return append(b, `","module":"internal"}`...)
}
