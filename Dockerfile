# The same image as `make images`, for those who have Docker: two static programs, nobody's user, nothing else.
# docker build --build-arg VERSION=v1 -t muster.local/muster:dev .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETARCH
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api ./api
COPY cmd ./cmd
COPY controllers ./controllers
COPY registry ./registry
RUN CGO_ENABLED=0 GOOS=linux GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags="-s -w -buildid= -X main.version=$VERSION" -o /out/ ./cmd/registry ./cmd/operator
RUN mkdir -p /root-fs/etc /root-fs/tmp /root-fs/var/lib/muster && chmod 1777 /root-fs/tmp \
 && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' > /root-fs/etc/passwd \
 && printf 'root:x:0:\nnonroot:x:65532:\n' > /root-fs/etc/group \
 && chown 65532:65532 /root-fs/var/lib/muster

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="Muster registry and operator" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/muster-registry/muster"
COPY --from=build /root-fs/ /
COPY --from=build /out/operator /operator
COPY --from=build /out/registry /registry
ENV PATH=/
WORKDIR /
USER 65532:65532
EXPOSE 8848 8849 9848 9849
ENTRYPOINT ["/registry"]
