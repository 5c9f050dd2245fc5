// The OpenAPI document in the form in which the page shows it: operations by tag, and schemas as rows.

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** Levels of nested objects that are shown in place. */
const DEPTH = 3;

/** All operations by tag, in the order of the document. */
export function groups(document) {
  const found = document.tags.map(({ name, description }) => ({ name, description, operations: [] }));
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((each) => item[each])) {
      const operation = { ...item[method], path, method, parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])] };
      found.find(({ name }) => name === operation.tags?.[0])?.operations.push(operation);
    }
  }
  return found.filter(({ operations }) => operations.length > 0);
}

const nameOf = (ref) => ref.split('/').at(-1);

export const resolve = (document, schema) => (schema?.$ref ? { ...document.components.schemas[nameOf(schema.$ref)], name: nameOf(schema.$ref) } : schema ?? {});

/** The type of a schema in some words. */
export function typeOf(document, schema) {
  if (!schema) return '';
  if (schema.$ref) {
    const { type } = resolve(document, schema);
    return type && type !== 'object' ? `${nameOf(schema.$ref)}: ${[type].flat().join(' or ')}` : nameOf(schema.$ref);
  }
  if (schema.oneOf) return schema.oneOf.map((each) => typeOf(document, each)).join(' or ');
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(', ');
  const types = [schema.type ?? 'any'].flat();
  return types.map((type) => (type === 'array' ? `array of ${typeOf(document, schema.items)}` : type)).join(' or ') + (schema.format ? ` (${schema.format})` : '');
}

/** The limits of a schema in some words. */
export const limitsOf = ({ minimum, maximum, minLength, maxLength, minItems, maxItems } = {}) => [
  [minimum, maximum, ''], [minLength, maxLength, ' characters'], [minItems, maxItems, ' items'],
].filter(([low, high]) => low !== undefined || high !== undefined)
  .map(([low, high, unit]) => (low !== undefined && high !== undefined ? `${low} to ${high}${unit}` : low !== undefined ? `at least ${low}${unit}` : `at most ${high}${unit}`)).join(', ');

/** The members of a schema as rows with their depth: those of nested objects follow their member. */
export function members(document, schema, depth = 0, seen = []) {
  const known = resolve(document, schema);
  if (known.oneOf) return known.oneOf.filter((each) => each.type !== 'null').flatMap((each, n, all) => [...(all.length > 1 && depth === 0 ? [{ title: `${n > 0 ? 'or ' : ''}${typeOf(document, each)}`, depth }] : []), ...members(document, each, depth, seen)]);
  if ([known.type].flat().includes('array')) return members(document, known.items, depth, seen);
  return Object.entries(known.properties ?? {}).flatMap(([name, value]) => {
    const target = value.$ref ?? value.items?.$ref ?? value.oneOf?.find((each) => each.$ref)?.$ref;
    const row = { name, depth, schema: value, isRequired: known.required?.includes(name) ?? false, description: value.description ?? resolve(document, value).description };
    const isNested = target && !seen.includes(target) && depth < DEPTH && resolve(document, { $ref: target }).properties;
    return [row, ...(isNested ? members(document, { $ref: target }, depth + 1, [...seen, target]) : [])];
  });
}

/** An example of a value of a schema: its own, or one of its members. */
export function example(document, schema, depth = 0) {
  const known = resolve(document, schema);
  if (known.example !== undefined) return known.example;
  if (known.examples?.length > 0) return known.examples[0];
  if (known.enum) return known.enum[0];
  if (known.oneOf) return example(document, known.oneOf[0], depth);
  const type = [known.type].flat().find((each) => each !== 'null');
  if (type === 'array') return depth > DEPTH ? [] : [example(document, known.items, depth + 1)];
  if (type === 'object' || known.properties) {
    const required = Object.entries(known.properties ?? {}).filter(([name]) => known.required?.includes(name));
    return depth > DEPTH ? {} : Object.fromEntries(required.map(([name, value]) => [name, example(document, value, depth + 1)]));
  }
  if (type === 'integer' || type === 'number') return known.minimum ?? 1;
  if (type === 'boolean') return true;
  return known.format?.toLowerCase() === 'date-time' ? '2026-01-31T12:00:00Z' : 'text';
}

/** The media type and the schema of the body of a request or a response; null without one. */
export function content(body) {
  const [type, value] = Object.entries(body?.content ?? {})[0] ?? [];
  return type ? { type, schema: value.schema, example: value.example } : null;
}

/** Whether an operation matches a search. */
export const matches = ({ path, method, summary = '', operationId = '' }, wanted) => wanted.toLowerCase().split(/\s+/).filter(Boolean)
  .every((word) => [path, method, summary, operationId].some((text) => text.toLowerCase().includes(word)));
