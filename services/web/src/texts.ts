/** Every sentence that the page shows, in one place: to read them through, to correct them, to translate them. */
import { type JobView, MEANINGS, type QueuePlace } from "./contract";
import { clock, clockSeconds, date, minutes, roughly, size, stateName, whole } from "./format";

const plural = (count: number, one: string, many: string = `${one}s`): string =>
  `${whole(count)} ${count === 1 ? one : many}`;

const capital = (sentence: string): string => sentence.charAt(0).toUpperCase() + sentence.slice(1);

const listed = (names: readonly string[]): string => names.map((name) => `“${name}”`).join(", ");

/** "starts 14:40 to 14:55"; what has passed already is left out. */
function expected(verb: string, earliest: string | null, latest: string | null, now: number): string {
  if (earliest === null || latest === null) return "";
  if (Date.parse(latest) <= now) return `${verb} any moment`;
  const to = clock(latest, now);
  if (Date.parse(earliest) <= now) return `${verb} by ${to}`;
  const from = clock(earliest, now);
  return from === to ? `${verb} about ${from}` : `${verb} ${from} to ${to}`;
}

export const texts = {
  product: "Trainyard",
  skip: "Skip to content",
  close: "Close",
  cancel: "Cancel",
  dismiss: "Dismiss",
  loading: "Loading…",
  none: "–",
  and: listed,

  tabs: { label: "Sections", datasets: "Datasets", models: "Models" },

  header: {
    team: (team: string, name: string | undefined) => (name === undefined ? `Team ${team}` : `Team ${team} · ${name}`),
    minutesLeft: (seconds: number) => `${minutes(seconds)} min left`,
    reserved: (seconds: number) => `${minutes(seconds)} reserved`,
    minutesTitle: (granted: number, used: number, reserved: number) =>
      `Of ${minutes(granted)} minutes granted, ${minutes(used)} are used and ${minutes(reserved)} reserved by jobs that haven’t ended.`,
  },

  connection: {
    connecting: "Connecting",
    live: "Live",
    offline: "Offline",
    unauthorized: "Signed out",
    forbidden: "No longer a member",
    liveTitle: "Changes appear here by themselves as they happen.",
    retry: (seconds: number) => (seconds > 0 ? `Trying again in ${seconds} s` : "Trying again now"),
    stale: (since: number) =>
      `No connection since ${clockSeconds(since)}: what you see may be out of date. It comes back by itself.`,
    never: "The server doesn’t answer yet. This page connects by itself as soon as it does.",
  },

  signIn: {
    title: "Sign in",
    hint: "Your session is missing or has ended. Reloading the page may be enough; else paste the access token that your team was given.",
    removed: "You are no longer on your team’s list of members. Ask a mentor; or paste another access token.",
    token: "Access token",
    submit: "Sign in",
  },

  errors: {
    unreachable: "The server can’t be reached. Check the network and try again.",
    uploadBroken: "The connection broke while sending. Nothing was imported; try again.",
    timeout: (seconds: number) => `No answer within ${seconds} seconds. Try again.`,
    status: (status: number) => `The server answered with an error (HTTP ${status}) and no explanation.`,
    viewer: "Your role is viewer: you can look, but not change anything.",
    page: "This page ran into an error. What trains goes on training; reload to see it again.",
    reload: "Reload",
  },

  datasets: {
    title: "Datasets",
    intro: "Labelled pictures to train on. Select one or more, then start training.",
    caption: "Datasets of your team",
    columns: {
      select: "Select",
      name: "Name",
      training: "Training",
      evaluation: "Evaluation",
      labels: "Labels",
      negatives: "Negatives",
      size: "Size",
      created: "Created",
      actions: "Actions",
    },
    picturesTitle: "Pictures in this pool",
    negativesTitle: "Pictures without any labelled object: training / evaluation",
    labelTitle: (name: string, train: number, evaluation: number) =>
      `${name}: ${whole(train)} boxes for training, ${whole(evaluation)} for evaluation`,
    select: (name: string) => `Select ${name}`,
    selectAll: "Select all datasets",
    warnings: (count: number) => plural(count, "warning"),
    emptyTitle: "No datasets yet",
    emptyHint: "Upload a zip of pictures with their Pascal VOC label files to begin.",
    delete: "Delete",
    deleteLabel: (name: string) => `Delete dataset ${name}`,
    deleteTitle: (name: string) => `Delete the dataset “${name}”?`,
    deleteText: (pictures: number) =>
      `Its ${plural(pictures, "picture")} can’t be brought back. Models that were trained on it stay.`,
    deleted: (name: string) => `The dataset “${name}” was deleted.`,
    selected: (count: number, train: number, evaluation: number) =>
      `${plural(count, "dataset")} selected: ${whole(train)} training and ${whole(evaluation)} evaluation pictures`,
  },

  start: {
    button: "Start Training",
    noneSelected: "Select at least one dataset first.",
    checking: "Comparing the labels of the selected datasets…",
    notChecked: (message: string) => `The labels couldn’t be compared: ${message}`,
    different: "Datasets must have exactly the same labels to be trained together:",
    difference: (name: string, missing: readonly string[], extra: readonly string[]) =>
      `“${name}” ${[
        missing.length > 0 ? `lacks ${listed(missing)}` : "",
        extra.length > 0 ? `has ${listed(extra)} besides` : "",
      ]
        .filter(Boolean)
        .join(" and ")}.`,
    title: "Start Training",
    from: (names: readonly string[]) => `On ${names.join(", ")}`,
    startingModel: "Starting model",
    steps: "Training steps",
    stepsHint: (lowest: number, highest: number) => `${whole(lowest)} to ${whole(highest)}`,
    maxMinutes: "Maximum training time",
    minutes: "minutes",
    maxMinutesHint: "It stops then, keeping its work; unused minutes come back.",
    minutesLeft: (left: number) => `${whole(left)} left`,
    description: "Description",
    descriptionHint: (longest: number) => `1 to ${longest} characters`,
    descriptionMissing: "Give the model a description.",
    planTitle: "What will happen",
    planPending: "Working it out…",
    recommended: (steps: number) => `Use the recommended ${whole(steps)} steps`,
    isRecommended: "These are the recommended steps.",
    submit: "Start Training",
    submitting: "Starting…",
    started: (description: string) => `“${description}” is in the queue.`,
    tryLater: (description: string, message: string) => `“${description}” can’t be queued now: ${message}`,
    failedInBackground: (description: string, message: string) => `“${description}” wasn’t started: ${message}`,
  },

  upload: {
    title: "Upload dataset",
    drop: "Drop a zip here",
    choose: "Choose a zip file",
    or: "or",
    hint: "Pictures with Pascal VOC label files (XML), in any folders, as one zip.",
    notZip: (name: string) => `“${name}” isn’t a zip file.`,
    name: "Dataset name",
    evalPercent: "Kept for evaluation",
    percent: "%",
    submit: "Upload",
    progress: (name: string, bytes: number) => `Uploading “${name}” (${size(bytes)})`,
    reading: (name: string) => `Reading and checking “${name}”…`,
    abort: "Cancel upload",
    failed: (name: string) => `“${name}” wasn’t imported`,
    done: (name: string) => `“${name}” is imported`,
    read: (read: number, boxes: number, train: number, evaluation: number) =>
      `${plural(read, "picture")} with ${plural(boxes, "box", "boxes")} read: ${whole(train)} for training, ${whole(evaluation)} for evaluation.`,
    skipped: (count: number) => `${plural(count, "file")} skipped`,
    andMore: (count: number) => `and ${whole(count)} more`,
    warnings: (count: number) => plural(count, "warning"),
    file: "File",
    reason: "Reason",
  },

  models: {
    title: "Models",
    intro: "Everything your team has trained or is training.",
    caption: "Models of your team, newest first",
    columns: {
      created: "Date Created",
      description: "Description",
      startingModel: "Starting Model",
      datasets: "Datasets",
      steps: "Steps Completed",
      state: "Job State",
      time: "Training Time",
      map: "mAP",
      actions: "Actions",
    },
    emptyTitle: "No models yet",
    emptyHint: "Select datasets and press Start Training: your first model appears here.",
    emptyAction: "Go to datasets",
    stepsOf: (requested: number) => `of ${whole(requested)}`,
    stepsTitle: (saved: number) => `${whole(saved)} steps are saved in a checkpoint`,
    stepsBar: (made: number, requested: number) => `${whole(made)} of ${whole(requested)} steps`,
    place: (position: number) => (position === 1 ? "Next in the queue" : `Place ${position} in the queue`),
    starts: (place: QueuePlace, now: number) => expected("starts", place.start_from, place.start_to, now),
    ends: (place: QueuePlace, now: number) => expected("ends", place.end_from, place.end_to, now),
    left: (seconds: number) => capital(`${roughly(seconds)} left.`),
    retryAfter: (at: string, now: number) =>
      Date.parse(at) <= now ? "You can try again now." : `Try again after ${clock(at, now)}.`,
    tryAgain: "Try again",
    tryAgainGone: "A dataset of this job no longer exists.",
    bestMap: (map: string, step: number | null) =>
      step === null ? `Best mAP ${map}` : `Best mAP ${map}, at step ${whole(step)}`,
    stop: "Stop",
    stopLabel: (description: string) => `Stop ${description}`,
    stopTitle: (description: string) => `Stop training “${description}”?`,
    stopRunning:
      "A last checkpoint is saved at the step it has reached, and you can download the model. Unused minutes come back.",
    stopWaiting: "It leaves the queue. It has made no step, so it costs nothing.",
    stopWaitingSaved: "It leaves the queue. What it had saved stays, and you can download the model.",
    stopKeep: "Keep training",
    stopAlready: "Stop was pressed already.",
    stopEnded: "It has ended.",
    stopUnclear: "Its state is unclear: contact support.",
    download: "Download",
    downloadLabel: (description: string, format: string) => `Download ${description} as ${format}`,
    downloadLater: "The file is made when training ends.",
    downloadMaking: "The file is being made.",
    downloadNothing: "It has no checkpoint, so there is nothing to download.",
    delete: "Delete",
    deleteLabel: (description: string) => `Delete ${description}`,
    deleteTitle: (description: string) => `Delete the model “${description}”?`,
    deleteText: "Its checkpoints, metrics and files can’t be brought back.",
    deleteRunning: "Only a model that has ended can be deleted. Stop it first.",
    deleted: (description: string) => `The model “${description}” was deleted.`,
  },

  model: {
    back: "All models",
    gone: "There is no such model",
    goneHint: "It may have been deleted.",
    kpiSteps: "Steps Completed",
    kpiTime: "Training Time",
    kpiMap: "mAP@.50IOU",
    kpiSpeed: "Speed",
    kpiMinutes: "Minutes",
    perSecond: "steps/s",
    savedAt: (step: number) => `${whole(step)} saved`,
    ofMaximum: (limit: string) => `of at most ${limit}`,
    mapLatest: (map: string) => `mAP ${map}`,
    mapNone: "after the first checkpoint",
    learningRate: (rate: string) => `learning rate ${rate}`,
    average: "on average",
    used: (back: string | null) => (back === null ? "used" : `used · ${back} given back`),
    reserved: "reserved",
    why: "Why",
    remedy: "What helps",
    notices: "Notices",
    loss: "Loss",
    lossHint: "Lower is better. Each point is a checkpoint.",
    lossHintLive: "Lower is better. Each point is a checkpoint; the last one is now.",
    precision: "Average precision",
    precisionHint: "On the evaluation pictures, 0 to 1. Higher is better.",
    step: "Step",
    noPoints: "The first checkpoint draws the first point.",
    noPointsEver: "It made no checkpoint.",
    chartLabel: (title: string, points: number, last: string) =>
      points === 0 ? `${title}: no points yet` : `${title} by step, ${plural(points, "point")}. Last: ${last}.`,
    bestAt: (map: string, step: number) => `Best ${map} at step ${whole(step)}`,
    series: {
      "Loss/total_loss": "Total",
      "Loss/classification_loss": "Classification",
      "Loss/localization_loss": "Localization",
      "Loss/regularization_loss": "Regularization",
      evaluation: "Total, evaluation",
    },
    metrics: "Metrics",
    metricsNone: "Metrics come with a checkpoint.",
    metricsFailed: (message: string) => `The metrics couldn’t be fetched: ${message}`,
    retry: "Try again",
    metric: "Metric",
    latest: (step: number) => `Step ${whole(step)}`,
    best: (step: number) => `Best, step ${whole(step)}`,
    bestIsLatest: "This checkpoint is the best so far.",
    training: "Training",
    evaluation: "Evaluation",
    noObjectShort: "none",
    noObject: "No object of that size exists in the evaluation pictures.",
    details: "Details",
    created: "Created",
    createdBy: (name: string, at: string) => `${date(at)} by ${name}`,
    startingModel: "Starting model",
    datasets: "Datasets",
    batchSize: "Batch size",
    batchSizeValue: (pictures: number) => `${plural(pictures, "picture")} a step`,
    maxTime: "Maximum time",
    trainer: "Trainer",
    ended: "Ended",
    pools: "Data",
    pictures: "Pictures",
    negatives: "of these without objects",
    boxesOf: (label: string) => `Boxes of ${label}`,
    poolGone: "A dataset of this model is gone; its counts are not known.",
    attempts: "Attempts",
    attemptsNone: "Not assigned to a trainer yet.",
    attempt: "No.",
    assigned: "Assigned",
    firstStep: "First step",
    from: "From step",
    fromStart: "start",
    outcome: "Outcome",
    ongoing: "in progress",
    downloads: "Downloads",
    downloadsNone: "The model can be downloaded when training has ended with a checkpoint.",
    formats: {
      float32: "Full precision: the safe choice.",
      float16: "Half the size, nearly the same results.",
      labels: "The names of the labels, one a line.",
    } as Record<string, string>,
    exportedFrom: (step: number) => `Made from the checkpoint at step ${whole(step)}.`,
    history: "History",
    historyNone: "Nothing has happened yet.",
  },

  news: (model: JobView) =>
    `${model.description}: ${stateName(model.state)}. ${model.reason?.message ?? MEANINGS[model.state]}`,
};
