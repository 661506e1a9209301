// An institution's client of the registry on the generated types of `registry.d.ts`: see docs/clients.md.

import createClient from "openapi-fetch";
import type { components, paths } from "./registry.js";

type AwardBody = components["schemas"]["AwardBody"];
type BatchOutcome = components["schemas"]["BatchOutcome"];
declare const process: { env: Record<string, string> };

const client = createClient<paths>({
  baseUrl: process.env.REGISTRY + "/v1",
  headers: { Authorization: "Bearer " + process.env.TOKEN },
});

function award(number: number): AwardBody {
  return {
    reference: `typescript-${number}`,
    moduleReference: "KLINRED",
    learner: { eppn: `student${number}@hhs.nl` },
    awardedOn: "2024-06-28",
    grade: "8",
  };
}

function some<T>(answer: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

const awarded = some(await client.POST("/badges", { body: award(0) }));
const path = { id: awarded.id };
const badge = some(
  await client.GET("/badges/{id}", { params: { path, query: { minPosition: awarded.position } } }),
);
if (badge.grade !== "8" || badge.module.version !== 1) throw new Error("another badge");

const revoked = some(
  await client.POST("/badges/{id}/revocation", { params: { path }, body: { reason: "awarded-in-error" } }),
);
const status = some(
  await client.GET("/badges/{id}/status", { params: { path, query: { minPosition: revoked.position } } }),
);

const lines = [0, 1, 2].map((number) => JSON.stringify(award(number)) + "\n").join("");
const answer = some(
  await client.POST("/badge-batches", {
    body: lines,
    bodySerializer: (body) => body,
    headers: { "Content-Type": "application/x-ndjson" },
    parseAs: "text",
  }),
);
const outcomes = answer.trimEnd().split("\n").map((line): BatchOutcome => JSON.parse(line));

console.log(status.status, ...outcomes.map((each) => each.outcome));
