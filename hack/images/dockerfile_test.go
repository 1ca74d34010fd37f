package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/muster-registry/muster/hack/images/pack"
)

// The Dockerfile is for people who have Docker. There is none where it is tested, so this compares what it says with
// what the images are made of.
func TestDockerfileSaysTheSame(t *testing.T) {
	data, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(strings.ReplaceAll(string(data), "\\\n", " ")), " ")
	want := []string{
		fmt.Sprintf("USER %d:%d", pack.User, pack.User),
		fmt.Sprintf("ENTRYPOINT [%q]", server.binaries[0].path),
		fmt.Sprintf("org.opencontainers.image.title=%q", server.title),
		"CGO_ENABLED=0",
		`go build -trimpath -buildvcs=false -ldflags="-s -w -buildid= -X main.version=$VERSION"`,
	}
	var packages, ports []string
	for _, b := range server.binaries {
		want = append(want, fmt.Sprintf("COPY --from=build /out%s %s", b.path, b.path))
		packages = append(packages, b.pkg)
	}
	want = append(want, strings.Join(packages, " "))
	for _, dir := range server.dirs {
		want = append(want, "/root-fs"+dir)
	}
	for _, port := range server.ports {
		ports = append(ports, fmt.Sprint(port))
	}
	want = append(want, "EXPOSE "+strings.Join(ports, " "))
	for _, line := range want {
		if !strings.Contains(text, line) {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
}
