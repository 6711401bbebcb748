/** Commands on models and datasets: send, put the answer into the live data, say what happened. */
import { asApiError } from "../api";
import type { DatasetView, JobView } from "../contract";
import { texts } from "../texts";
import type { Page } from "./context";

export async function stopModel(page: Page, job: JobView): Promise<void> {
  try {
    page.live.addModel(await page.api.stopJob(job.id));
  } catch (error) {
    page.tell("bad", asApiError(error).message);
  }
}

/** True where it is gone: the row itself leaves when the stream says so. */
export async function deleteModel(page: Page, job: JobView): Promise<boolean> {
  try {
    await page.api.deleteJob(job.id);
  } catch (error) {
    page.tell("bad", asApiError(error).message);
    return false;
  }
  page.tell("good", texts.models.deleted(job.description));
  return true;
}

export async function deleteDataset(page: Page, dataset: DatasetView): Promise<void> {
  try {
    await page.api.deleteDataset(dataset.id);
  } catch (error) {
    page.tell("bad", asApiError(error).message);
    return;
  }
  page.tell("good", texts.datasets.deleted(dataset.name));
}
