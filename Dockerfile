# syntax=docker/dockerfile:1.7
# One image with every binary; which one runs is said where it is started: docker run IMAGE /usr/local/bin/gateway --help

# Of the same Debian as the image below: what is linked here must be there.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Names of functions stay for backtraces; lines of code would make the image five times as large.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# The caches outlive this step and the image does not hold them, so the binaries are taken out of them here.
RUN --mount=type=cache,id=tiffin-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=tiffin-target,target=/src/target,sharing=locked \
    cargo build --release --locked --workspace --bins \
    && mkdir /out \
    && cd target/release \
    && install --mode=0755 --target-directory=/out \
        gateway \
        order-master basket-master menu-master point-master courier-master user-master notifier \
        order-info basket-info menu-info user-info \
        sandbox-payments sandbox-mail \
        tiffin

# glibc, libgcc and the public authorities; no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ /usr/local/bin/
# As a number, since Kubernetes cannot tell from a name that it is not root.
USER 65532:65532
