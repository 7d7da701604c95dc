import { idIn, json, notFound, runService } from "./service.ts";

// GET /ratings/ID: how many stars each reviewer gave.
runService("ratings", process.env, (_request, url) => {
  const id = idIn(url, "ratings");
  if (id === undefined) return notFound;
  return json(200, { id: Number(id), ratings: { Reviewer1: 5, Reviewer2: 4 } });
});
