package codec

import (
	"strings"
	"unicode/utf8"

	"github.com/muster-registry/muster/registry/model"
)

// Limits of the parameter check (nacos-protocol §4.9).
const (
	maxNamespace = 64
	maxService   = 512
	maxGroup     = 128
	maxCluster   = 64
	maxIP        = 128
	maxPort      = 65535
	maxMetadata  = 1024
)

// Limits of our own, of what Nacos takes in at any length.
const (
	maxClusters   = 4096 // of a whole list
	maxInstanceID = 1024 // the longest that Nacos makes of such parts has 842
)

// CheckService checks the three parts of a service's name. An empty part passes: whether it may be left out is for the
// caller to say.
func CheckService(namespace, group, name string) error {
	if err := checkText("namespaceId/tenant", namespace, maxNamespace, isWord); err != nil {
		return err
	}
	if err := checkText("serviceName", name, maxService, isVisible); err != nil {
		return err
	}
	if strings.HasPrefix(name, "@") || strings.Contains(name, model.GroupSeparator) {
		return illegal("serviceName")
	}
	return checkText("group", group, maxGroup, isGroup)
}

// CheckClusters checks a comma separated list of clusters.
func CheckClusters(list string) error {
	if utf8.RuneCountInString(list) > maxClusters {
		return tooLong("clusters", maxClusters)
	}
	for cluster := range strings.SplitSeq(list, ",") {
		if err := checkText("cluster", cluster, maxCluster, isCluster); err != nil {
			return err
		}
	}
	return nil
}

// CheckInstance checks one instance's cluster, address, id and metadata, in this order. An id may have been made of the
// service's name that came with the instance.
func CheckInstance(in model.Instance) error {
	if err := checkText("cluster", in.Cluster, maxCluster, isCluster); err != nil {
		return err
	}
	if err := checkText("ip", in.IP, maxIP, isVisible); err != nil {
		return err
	}
	if in.Port < 0 || in.Port > maxPort {
		return model.Errorf(model.CodeInvalid, "Param 'port' is illegal, the value should be between 0 and %d.", maxPort)
	}
	if utf8.RuneCountInString(in.ID) > maxInstanceID {
		return tooLong("instanceId", maxInstanceID)
	}
	length := 0
	for key, value := range in.Metadata.All() {
		length += utf8.RuneCountInString(key) + utf8.RuneCountInString(value)
	}
	if length > maxMetadata {
		return tooLong("Metadata", maxMetadata)
	}
	return nil
}

// CheckBatch checks how much a publication says: how many instances, and how many bytes of them as model counts.
func CheckBatch(count, size int) error {
	switch {
	case count > model.MaxInstances:
		return model.Errorf(model.CodeInvalid, "Param 'instances' is illegal, there should not be more than %d.", model.MaxInstances)
	case size > model.MaxRecord:
		return model.Errorf(model.CodeInvalid, "Param 'instances' is illegal, what they say should not exceed %d bytes.", model.MaxRecord)
	}
	return nil
}

// CheckLegal is the second check, of what is about to be registered: its message is not that of the parameter check.
func CheckLegal(in model.Instance) error {
	interval := in.BeatInterval()
	if interval > in.BeatTimeout(beatTimeout) || interval > in.DeleteAfter(deleteTimeout) {
		return model.Errorf(model.CodeInvalid,
			"Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.")
	}
	for _, c := range in.Cluster {
		if !isAlphanumeric(c) && c != '-' {
			return model.Errorf(model.CodeInvalid,
				"Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: %s)", in.Cluster)
		}
	}
	return nil
}

func checkText(param, value string, limit int, allowed func(rune) bool) error {
	if utf8.RuneCountInString(value) > limit {
		return tooLong(param, limit)
	}
	for _, c := range value {
		if !allowed(c) {
			return illegal(param)
		}
	}
	return nil
}

func illegal(param string) error {
	return model.Errorf(model.CodeInvalid,
		"Param '%s' is illegal, illegal characters should not appear in the param.", param)
}

func tooLong(param string, limit int) error {
	return model.Errorf(model.CodeInvalid,
		"Param '%s' is illegal, the param length should not exceed %d.", param, limit)
}

func isAlphanumeric(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isWord(c rune) bool    { return isAlphanumeric(c) || c == '_' || c == '-' }
func isCluster(c rune) bool { return isWord(c) }
func isGroup(c rune) bool   { return isWord(c) || c == ':' || c == '.' }

// isVisible: no white space and no Chinese characters, as Nacos has it.
func isVisible(c rune) bool {
	return c != ' ' && (c < '\t' || c > '\r') && (c < '\u4E00' || c > '\u9FA5')
}
