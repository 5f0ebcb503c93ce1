// Keeps what the conformance suite listens with on loopback: its mocks name no host, and without
// one Node.js listens on every interface. Loaded before it, with `--require`.
// It changes where a server is bound and not how `listen` is called: given a host, `listen` looks
// it up and returns before it is bound, and the mocks read their port at once.

const { Server } = require("node:net");

const bind = Server.prototype._listen2;
Server.prototype._listen2 = function (address, port, addressType, ...rest) {
  const everywhere = !address && port >= 0;
  return everywhere
    ? bind.call(this, "127.0.0.1", port, 4, ...rest)
    : bind.call(this, address, port, addressType, ...rest);
};
