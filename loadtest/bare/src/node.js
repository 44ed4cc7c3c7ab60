// Node's http with nothing around it: `node node.js PORT`.
const http = require("node:http");

const server = http.createServer((_, response) => {
  response.writeHead(200, { "Content-Type": "text/plain", "Content-Length": 13 });
  response.end("Hello, World!");
});
// As long as the others keep an idle connection; its own 5 s would end them while they are counted.
server.keepAliveTimeout = 75_000;
server.listen(Number(process.argv[2]), "127.0.0.1", 4096);
