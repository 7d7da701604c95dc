/** The contract between configuration and data path; it lives in core/ because compilers build it. */
export type * from "../core/runtime-config.ts";
