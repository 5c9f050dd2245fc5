// Where the server is: this file is at `assets/<version>/app/` below it, wherever a proxy serves it.

export const root = new URL('../../../', import.meta.url);

/** The address of a path of the server. */
export const at = (path) => new URL(path, root).href;

/** The address of a file beside the folders of the modules. */
export const asset = (path) => new URL(`../${path}`, import.meta.url).href;
