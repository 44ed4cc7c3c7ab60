# One static binary in an empty image. `docker build -t nessen:0.1.0 .`
#
# Build arguments, which /version, `nessen --version` and the labels then show:
#   VERSION            default: that of Cargo.toml, and no label
#   REVISION           the commit: --build-arg REVISION="$(git rev-parse HEAD)"
#   SOURCE_DATE_EPOCH  seconds since 1970, for the same image from the same source

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# Static, so that it runs in an image that holds nothing else. With the target named, the flags do not
# reach build scripts and procedural macros, which must stay dynamic. A static program that can lie anywhere
# relocates itself as it starts: packed, its table of relocations takes a thirtieth (350 KB less).
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"

# The dependencies first: they change less often than the source, and this layer is kept until they do.
COPY Cargo.toml Cargo.lock build.rs ./
RUN rustc --print host-tuple > target-triple \
    && mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --target "$(cat target-triple)" \
    && rm -r src

COPY src src
ARG VERSION=""
ARG REVISION=""
ARG SOURCE_DATE_EPOCH=""
# Touched, since a source may be older than the placeholder that was built in its stead. An epoch that nobody gave is none,
# and not an empty one, which compilers refuse.
RUN touch src/main.rs src/lib.rs \
    && if [ -z "$SOURCE_DATE_EPOCH" ]; then unset SOURCE_DATE_EPOCH; fi \
    && NESSEN_VERSION="$VERSION" NESSEN_REVISION="$REVISION" \
       cargo build --release --locked --target "$(cat target-triple)" \
    && cp "target/$(cat target-triple)/release/nessen" /nessen

FROM scratch
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="nessen" \
      org.opencontainers.image.description="A hardened HTTP runtime: proxy, static file server, and the runtime of axum applications" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /nessen /nessen
# A number, since there is no /etc/passwd: the user that distroless images call nonroot.
USER 65532:65532
# Once it listens, it keeps what serving takes, and no more: docs/sandbox.md.
ENV NESSEN_SERVER_SANDBOX=on
EXPOSE 3000
STOPSIGNAL SIGTERM
# Asks /health on the port that the server is set to. There is no shell that could run curl.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/nessen", "healthcheck"]
ENTRYPOINT ["/nessen"]
