# Shelfwire's image: every program and the libraries it needs, on Debian 13. No shell, no package manager, nobody but the user
# it runs as.
#
#   docker build -t shelfwire .                              the programs: docker run shelfwire PROGRAM
#   docker build -t shelfwire-sandbox --target sandbox .     the sandbox of vendors, for a try-out
#
# It builds with BuildKit and without. The unit tests run as part of it.
FROM debian:trixie-slim AS build
COPY tests/setup.sh /setup/
RUN /setup/setup.sh compile
WORKDIR /source
COPY . .
RUN cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr && cmake --build --preset release && \
    ctest --test-dir build --output-on-failure
RUN ops/compose/root.sh build /root-of-image /programs

FROM scratch AS libraries
COPY --from=build /root-of-image/ /
USER 10001:10001

FROM libraries AS sandbox
COPY --from=build /source/build/bin/sandbox /usr/bin/
CMD ["sandbox", "--bind", "0.0.0.0", "--port", "8090"]

FROM libraries AS shelfwire
COPY --from=build /programs/ /
