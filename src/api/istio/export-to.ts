import { z } from "zod";

const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** To whom a resource is visible: `*` everybody, `.` its own namespace, `~` nobody, or namespaces. */
export const exportTo = z.array(
  z.string().refine((target) => ["*", ".", "~"].includes(target) || NAMESPACE.test(target), {
    error: (issue) => `must be *, ., ~ or a namespace (found ${JSON.stringify(issue.input)})`,
  }),
);
