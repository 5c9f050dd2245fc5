// Generates a TypeScript client from the document of a running gateway, compiles client.ts with it, and runs it.
//
//   ORDERS_URL=http://127.0.0.1:3000 node typescript.mjs
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import openapi, { astToString } from 'openapi-typescript';

const url = process.env.ORDERS_URL ?? 'http://127.0.0.1:3000';
const types = astToString(await openapi(new URL('/openapi.json', url)));
await mkdir('generated', { recursive: true });
await writeFile('generated/schema.d.ts', types);
const run = (file, ...rest) => execFileSync(process.execPath, [file, ...rest], { stdio: 'inherit' });
run('node_modules/typescript/bin/tsc', '--project', 'tsconfig.json');
run('generated/client.js');
