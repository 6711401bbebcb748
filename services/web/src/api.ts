/**
 * The services' HTTP interface: one typed function per request, one kind of error.
 *
 * Owns addresses, timeouts and idempotency keys. The shapes of requests and answers are the contract's.
 */
import type {
  AnnouncementAnswer,
  AnnounceRequest,
  AuditAnswer,
  BatchAnswer,
  CancelRequest,
  CapacityAnswer,
  CheckpointPredictionsAnswer,
  Compatibility,
  CompatibilityRequest,
  CreateTeamsRequest,
  DatasetAnswer,
  DatasetsAnswer,
  DatasetStatistics,
  ErrorBody,
  EvaluationPicture,
  EvaluationPicturesAnswer,
  EventsAnswer,
  GrantRequest,
  Imported,
  JobAnswer,
  JobLog,
  JobRequest,
  JobView,
  MemberAnswer,
  MemberRequest,
  MetricPoint,
  MetricsAnswer,
  ModelAnswer,
  ModelEvent,
  MoreRequest,
  PicturesAnswer,
  PauseRequest,
  Plan,
  PlanAnswer,
  PlanRequest,
  PriorityRequest,
  QueueAnswer,
  ReconcileRequest,
  RetryRequest,
  RoomAnswer,
  Session,
  SessionRequest,
  StartingModels,
  TeamAnswer,
  TeamRequest,
  TeamsAnswer,
  TokenAnswer,
  TokenRequest,
  TokensAnswer,
  TrainerAnswer,
  TrainersAnswer,
} from "./contract";
import { texts } from "./texts";

/** What went wrong, in words for a person; `field` names the input, `status` is 0 where no answer came. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field: string | null = null,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Where resumable uploads are begun. */
export const UPLOADS = "/api/datasets/uploads";

export type PicturesQuery = { label: string | null; pool: "train" | "eval" | null; negatives: boolean };

const TIMEOUT_MS = 20_000;
/** Thousands of pictures may take longer: whoever asks again is told that they are being read. */
const IMPORT_TIMEOUT_MS = 60_000;

/** A fresh key: 128 random bits. (`crypto.randomUUID` is missing on plain-HTTP addresses of a school's network.) */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Api {
  constructor(private readonly fetcher: typeof fetch = (...given) => fetch(...given)) {}

  session(): Promise<Session> {
    return this.request("GET", "/api/session");
  }

  signIn(token: string): Promise<Session> {
    const body: SessionRequest = { token };
    return this.request("POST", "/api/session", { body });
  }

  async signOut(): Promise<void> {
    await this.request("DELETE", "/api/session");
  }

  dataset(id: string, signal: AbortSignal): Promise<DatasetAnswer> {
    return this.request("GET", `/api/datasets/${encodeURIComponent(id)}`, { signal });
  }

  datasets(signal: AbortSignal): Promise<DatasetsAnswer> {
    return this.request("GET", "/api/datasets", { signal });
  }

  statistics(id: string, signal: AbortSignal): Promise<DatasetStatistics> {
    return this.request("GET", `/api/datasets/${encodeURIComponent(id)}/statistics`, { signal });
  }

  pictures(
    id: string,
    asked: PicturesQuery,
    offset: number,
    limit: number,
    signal: AbortSignal,
  ): Promise<PicturesAnswer> {
    const query = new URLSearchParams({ offset: String(offset), limit: String(limit) });
    if (asked.label !== null) query.set("label", asked.label);
    if (asked.pool !== null) query.set("pool", asked.pool);
    if (asked.negatives) query.set("negative", "true");
    return this.request("GET", `/api/datasets/${encodeURIComponent(id)}/pictures?${query}`, { signal });
  }

  pictureUrl(id: string, index: number, size: "thumb" | "full"): string {
    return `/api/datasets/${encodeURIComponent(id)}/pictures/${index}.jpg${size === "thumb" ? "?size=thumb" : ""}`;
  }

  /** Makes a dataset of an upload. The upload's id is the key: asked again, the server finds the dataset it made. */
  importUpload(upload: string, name: string, evalPercent: number, signal: AbortSignal): Promise<Imported> {
    const query = new URLSearchParams({ upload, name, eval_percent: String(evalPercent), seed: "0" });
    return this.request("POST", `/api/datasets?${query}`, { key: upload, timeoutMs: IMPORT_TIMEOUT_MS, signal });
  }

  /** How far an upload is, in bytes; `unknown` where the server can't be asked. */
  async lookAtUpload(url: string): Promise<{ sent: number; size: number; expires: number } | "gone" | "unknown"> {
    try {
      const answer = await this.fetcher(url, { method: "HEAD", headers: { "Tus-Resumable": "1.0.0" } });
      if (answer.status === 404 || answer.status === 410) return "gone";
      if (!answer.ok) return "unknown";
      const number = (name: string) => Number(answer.headers.get(name));
      const expires = Date.parse(answer.headers.get("Upload-Expires") ?? "");
      return { sent: number("Upload-Offset"), size: number("Upload-Length"), expires };
    } catch {
      return "unknown";
    }
  }

  /** Gives an upload up; one that is gone already is no error. */
  async removeUpload(url: string): Promise<void> {
    const answer = await this.fetcher(url, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0" } });
    if (!answer.ok && answer.status !== 404) throw errorOf(answer.status, parsed(await answer.text()));
  }

  compatibility(datasetIds: string[], signal: AbortSignal): Promise<Compatibility> {
    const body: CompatibilityRequest = { dataset_ids: datasetIds };
    return this.request("POST", "/api/datasets/compatibility", { body, signal });
  }

  deleteDataset(id: string): Promise<void> {
    return this.request("DELETE", `/api/datasets/${encodeURIComponent(id)}`);
  }

  startingModels(frames: number, signal: AbortSignal): Promise<StartingModels> {
    return this.request("GET", `/api/starting-models?frames=${frames}`, { signal });
  }

  async plan(request: PlanRequest, signal: AbortSignal): Promise<Plan> {
    return (await this.request<PlanAnswer>("POST", "/api/plans", { body: request, signal })).plan;
  }

  /** `key` makes a repeated request harmless: use the same one when trying again, a new one for a new wish. */
  async startJob(request: JobRequest, key: string): Promise<JobView> {
    return (await this.request<JobAnswer>("POST", "/api/jobs", { body: request, key })).job;
  }

  /** Trains a finished model more, as a new job; `key` as in `startJob`. */
  async trainMore(parentId: string, request: MoreRequest, key: string): Promise<JobView> {
    const path = `/api/jobs/${encodeURIComponent(parentId)}/more`;
    return (await this.request<JobAnswer>("POST", path, { body: request, key })).job;
  }

  async retryJob(id: string, whenRoom: boolean): Promise<JobView> {
    const body: RetryRequest = { when_room: whenRoom };
    return (await this.request<JobAnswer>("POST", `/api/jobs/${encodeURIComponent(id)}/retry`, { body })).job;
  }

  async approveJob(id: string): Promise<JobView> {
    return (await this.request<JobAnswer>("POST", `/api/jobs/${encodeURIComponent(id)}/approve`)).job;
  }

  log(id: string, signal: AbortSignal): Promise<JobLog> {
    return this.request("GET", `/api/jobs/${encodeURIComponent(id)}/log`, { signal });
  }

  async stopJob(id: string): Promise<JobView> {
    return (await this.request<JobAnswer>("POST", `/api/jobs/${encodeURIComponent(id)}/stop`)).job;
  }

  deleteJob(id: string): Promise<void> {
    return this.request("DELETE", `/api/jobs/${encodeURIComponent(id)}`);
  }

  model(id: string, signal: AbortSignal): Promise<ModelAnswer> {
    return this.request("GET", `/api/models/${encodeURIComponent(id)}`, { signal });
  }

  async metrics(id: string, signal: AbortSignal): Promise<MetricPoint[]> {
    const path = `/api/models/${encodeURIComponent(id)}/metrics`;
    return (await this.request<MetricsAnswer>("GET", path, { signal })).metrics;
  }

  async events(id: string, signal: AbortSignal): Promise<ModelEvent[]> {
    const path = `/api/models/${encodeURIComponent(id)}/events`;
    return (await this.request<EventsAnswer>("GET", path, { signal })).events;
  }

  async evaluationPictures(id: string, signal: AbortSignal): Promise<EvaluationPicture[]> {
    const path = `/api/models/${encodeURIComponent(id)}/pictures`;
    return (await this.request<EvaluationPicturesAnswer>("GET", path, { signal })).pictures;
  }

  evaluationPictureUrl(id: string, number: number): string {
    return `/api/models/${encodeURIComponent(id)}/pictures/${number}.jpg`;
  }

  predictions(id: string, step: number, signal: AbortSignal): Promise<CheckpointPredictionsAnswer> {
    return this.request("GET", `/api/models/${encodeURIComponent(id)}/predictions/${step}`, { signal });
  }

  downloadUrl(id: string, format: string): string {
    return `/api/models/${encodeURIComponent(id)}/download?format=${encodeURIComponent(format)}`;
  }

  team(signal?: AbortSignal): Promise<TeamAnswer> {
    return this.request("GET", "/api/team", signal === undefined ? {} : { signal });
  }

  setCap(minutes: number | null): Promise<TeamAnswer> {
    const body: TeamRequest = { member_cap_minutes: minutes };
    return this.request("PATCH", "/api/team", { body });
  }

  ledgerUrl(): string {
    return "/api/team/ledger?format=csv";
  }

  putMember(name: string, role: NonNullable<MemberRequest["role"]>): Promise<MemberAnswer> {
    const body: MemberRequest = { role };
    return this.request("PUT", `/api/team/members/${encodeURIComponent(name)}`, { body });
  }

  removeMember(name: string): Promise<void> {
    return this.request("DELETE", `/api/team/members/${encodeURIComponent(name)}`);
  }

  tokens(signal: AbortSignal): Promise<TokensAnswer> {
    return this.request("GET", "/api/team/tokens", { signal });
  }

  /** `key` as in `startJob`: the answer to a repeated request has the same secret. */
  makeToken(body: TokenRequest, key: string): Promise<TokenAnswer> {
    return this.request("POST", "/api/team/tokens", { body, key });
  }

  revokeToken(id: string): Promise<void> {
    return this.request("DELETE", `/api/team/tokens/${encodeURIComponent(id)}`);
  }

  // --- for operators ---------------------------------------------------------------------------------------------

  /** What runs and waits in the whole room. */
  room(signal: AbortSignal): Promise<RoomAnswer> {
    return this.request("GET", "/api/queue", { signal });
  }

  announce(body: AnnounceRequest, key: string): Promise<AnnouncementAnswer> {
    return this.request("POST", "/api/admin/announcements", { body, key });
  }

  async removeAnnouncement(id: string): Promise<void> {
    await this.request("DELETE", `/api/admin/announcements/${encodeURIComponent(id)}`);
  }

  trainers(signal: AbortSignal): Promise<TrainersAnswer> {
    return this.request("GET", "/api/trainers", { signal });
  }

  drain(trainer: string): Promise<TrainerAnswer> {
    return this.request("POST", `/api/trainers/${encodeURIComponent(trainer)}/drain`);
  }

  capacity(hours: number, signal: AbortSignal): Promise<CapacityAnswer> {
    return this.request("GET", `/api/admin/capacity?hours=${hours}`, { signal });
  }

  queue(signal: AbortSignal): Promise<QueueAnswer> {
    return this.request("GET", "/api/admin/queue", { signal });
  }

  async setPriority(id: string, priority: number): Promise<JobView> {
    const body: PriorityRequest = { priority };
    return (await this.request<JobAnswer>("POST", `/api/admin/jobs/${encodeURIComponent(id)}/priority`, { body })).job;
  }

  async cancelJob(id: string, reason: string): Promise<JobView> {
    const body: CancelRequest = { reason };
    return (await this.request<JobAnswer>("POST", `/api/admin/jobs/${encodeURIComponent(id)}/cancel`, { body })).job;
  }

  async reconcile(id: string, state: ReconcileRequest["state"]): Promise<JobView> {
    const body: ReconcileRequest = { state };
    return (await this.request<JobAnswer>("POST", `/api/admin/jobs/${encodeURIComponent(id)}/reconcile`, { body })).job;
  }

  teams(signal: AbortSignal): Promise<TeamsAnswer> {
    return this.request("GET", "/api/admin/teams", { signal });
  }

  createTeams(body: CreateTeamsRequest, key: string): Promise<BatchAnswer> {
    return this.request("POST", "/api/admin/teams", { body, key });
  }

  grant(body: GrantRequest, key: string): Promise<BatchAnswer> {
    return this.request("POST", "/api/admin/grants", { body, key });
  }

  pause(body: PauseRequest): Promise<BatchAnswer> {
    return this.request("POST", "/api/admin/pauses", { body });
  }

  audit(limit: number, signal: AbortSignal): Promise<AuditAnswer> {
    return this.request("GET", `/api/admin/audit?limit=${limit}`, { signal });
  }

  private async request<T>(
    method: string,
    path: string,
    given: { body?: unknown; key?: string; signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (given.body !== undefined) headers["Content-Type"] = "application/json";
    if (given.key !== undefined) headers["Idempotency-Key"] = given.key;
    const { timeoutMs = TIMEOUT_MS } = given;
    const timeout = AbortSignal.timeout(timeoutMs);
    const options: RequestInit = {
      method,
      headers,
      credentials: "same-origin",
      signal: given.signal === undefined ? timeout : AbortSignal.any([given.signal, timeout]),
    };
    if (given.body !== undefined) options.body = JSON.stringify(given.body);
    let response: Response;
    let text: string;
    try {
      response = await this.fetcher(path, options);
      text = await response.text();
    } catch (error) {
      if (given.signal?.aborted === true) throw error; // the caller no longer wants it
      if (timeout.aborted) throw new ApiError(0, "timeout", texts.errors.timeout(timeoutMs / 1000));
      throw new ApiError(0, "unreachable", texts.errors.unreachable);
    }
    const body = parsed(text);
    if (!response.ok) throw errorOf(response.status, body);
    return body as T;
  }
}

/** True for the error of a request that its caller gave up. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Any thrown value as an ApiError. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(0, "unexpected", error instanceof Error ? error.message : String(error));
}

export function parsed(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's own page: the status says enough
  }
}

export function errorOf(status: number, body: unknown): ApiError {
  const error = (body as { error?: Partial<ErrorBody> } | undefined)?.error;
  if (typeof error?.code !== "string" || typeof error.message !== "string") {
    return new ApiError(status, "http", texts.errors.status(status));
  }
  return new ApiError(status, error.code, error.message, error.field ?? null, error.details ?? {});
}
