// The path of the .proto file. `import.meta` and `__dirname` exist only in one of the two module systems of the package.
module.exports = require("node:path").join(__dirname, "orders.proto");
