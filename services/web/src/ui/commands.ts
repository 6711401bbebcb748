/** Commands on models and datasets: send, put the answer into the live data, say what happened. */
import { asApiError } from "../api";
import type { DatasetView, JobView } from "../contract";
import { texts } from "../texts";
import type { Page } from "./context";

/** Also ends that a job queues by itself. True where the server has taken it. */
export async function stopModel(page: Page, job: JobView): Promise<boolean> {
  return carryOut(page, async () => page.live.addModel(await page.api.stopJob(job.id)));
}

/** Tries admission again; `whenRoom` lets it go on trying by itself. True where the server has taken it. */
export async function retryModel(page: Page, job: JobView, whenRoom: boolean): Promise<boolean> {
  return carryOut(page, async () => {
    const now = await page.api.retryJob(job.id, whenRoom);
    page.live.addModel(now);
    if (now.state !== "TRY_AGAIN_LATER") page.tell("good", texts.start.started(now.description));
    else if (whenRoom) page.tell("good", texts.models.waitsForRoom(now.description));
    else page.tell("bad", texts.start.tryLater(now.description, now.reason?.message ?? ""));
  });
}

export async function approveModel(page: Page, job: JobView): Promise<void> {
  await carryOut(page, async () => {
    const now = await page.api.approveJob(job.id);
    page.live.addModel(now);
    if (now.state !== "TRY_AGAIN_LATER") page.tell("good", texts.models.approved(now.description));
    else page.tell("bad", texts.start.tryLater(now.description, now.reason?.message ?? ""));
  });
}

/** True where it is gone: the row itself leaves when the stream says so. */
export async function deleteModel(page: Page, job: JobView): Promise<boolean> {
  return carryOut(page, async () => {
    await page.api.deleteJob(job.id);
    page.tell("good", texts.models.deleted(job.description));
  });
}

export async function deleteDataset(page: Page, dataset: DatasetView): Promise<void> {
  await carryOut(page, async () => {
    await page.api.deleteDataset(dataset.id);
    page.tell("good", texts.datasets.deleted(dataset.name));
  });
}

/** Does it; a failure is told. True where it was done. */
export async function carryOut(page: Page, command: () => Promise<unknown>): Promise<boolean> {
  try {
    await command();
  } catch (error) {
    page.tell("bad", asApiError(error).message);
    return false;
  }
  return true;
}
