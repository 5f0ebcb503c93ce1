// Makes the conformance suite listen on loopback only, and lets it exit. Loaded with `--require`.

const http = require("node:http");
const net = require("node:net");

// The suite's mocks specify no host, so Node.js would listen on every interface. This changes where
// a server is bound and not the arguments of `listen`: with a host, `listen` resolves it and returns
// before the server is bound, but the mocks read their port at once.
const bind = net.Server.prototype._listen2;
net.Server.prototype._listen2 = function (address, port, addressType, ...rest) {
  // All of the suite's servers run in one process. If it is busy for longer than connections may be
  // idle, it closes them before it reads the requests that arrived meanwhile.
  this.keepAliveTimeout = 0;
  const everywhere = !address && port >= 0;
  return everywhere
    ? bind.call(this, "127.0.0.1", port, 4, ...rest)
    : bind.call(this, address, port, addressType, ...rest);
};

// A closed server waits for its connections, and for a minute for one without a request. Clients may
// open unused connections, and the suite waits for its servers.
const close = http.Server.prototype.close;
http.Server.prototype.close = function (...rest) {
  setImmediate(() => this.closeAllConnections());
  return close.apply(this, rest);
};
