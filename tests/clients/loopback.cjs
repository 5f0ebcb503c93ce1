// Keeps what the conformance suite listens with on loopback, and lets it end. Loaded before it,
// with `--require`.

const http = require("node:http");
const net = require("node:net");

// The suite's mocks name no host, and without one Node.js listens on every interface. This changes
// where a server is bound and not how `listen` is called: given a host, `listen` looks it up and
// returns before it is bound, and the mocks read their port at once.
const bind = net.Server.prototype._listen2;
net.Server.prototype._listen2 = function (address, port, addressType, ...rest) {
  // One process is all of the suite's servers at once. Where it is busy for longer than connections
  // may be idle, it ends them before it has read the requests that came meanwhile.
  this.keepAliveTimeout = 0;
  const everywhere = !address && port >= 0;
  return everywhere
    ? bind.call(this, "127.0.0.1", port, 4, ...rest)
    : bind.call(this, address, port, addressType, ...rest);
};

// A server that is closed waits for its connections, and a minute for one that has brought no
// request yet. Clients may open more than they come to use, and the suite waits for its servers.
const close = http.Server.prototype.close;
http.Server.prototype.close = function (...rest) {
  setImmediate(() => this.closeAllConnections());
  return close.apply(this, rest);
};
