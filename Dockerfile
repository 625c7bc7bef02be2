# The image of the node agent: bermd, bermctl, and berm to be put on nodes.
#   docker build -t berm:0.1.0 .
# Another base, or one by digest: --build-arg BASE=debian:12.11-slim@sha256:...
ARG BASE=debian:12.11-slim
FROM ${BASE} AS build
WORKDIR /src
COPY mk/deps.sh mk/deps.sh
RUN mk/deps.sh build
COPY . .
RUN make -j"$(nproc)" all && deploy/collect.sh build /image

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="berm" \
    org.opencontainers.image.description="Node agent of berm: metadata guard and NetworkPolicy for sandboxed pods" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
# Root, with the capabilities that the DaemonSet gives: eBPF programs, tcx links and setns need them.
USER 0:0
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/bermd"]
