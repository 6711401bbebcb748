/** The files that a model gave, its labels, and code that runs it on a robot. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { downloadRefusal } from "../actions";
import type { ExportedFile, JobView } from "../contract";
import { size } from "../format";
import { type Snippet, snippets } from "../snippets";
import { texts } from "../texts";
import { Icon } from "./bits";
import { CopyButton } from "./copy";
import { usePage } from "./context";
import { Segments } from "./segments";
import { useStartingModels } from "./start-data";

export function Export({ job }: { job: JobView }): JSX.Element {
  const made = job.export;
  if (made === null || made.files.length === 0) {
    return (
      <section class="card empty">
        <p>{downloadRefusal(job)}</p>
      </section>
    );
  }
  return (
    <div class="columns even">
      <Files job={job} files={made.files} step={made.step} />
      <Code job={job} />
    </div>
  );
}

function Files({ job, files, step }: { job: JobView; files: readonly ExportedFile[]; step: number }): JSX.Element {
  const { api } = usePage();
  return (
    <section class="card">
      <h2>{texts.model.downloads}</h2>
      <ul class="files">
        {withLabels(files).map((file) => (
          <li key={file.format}>
            <a
              class="button"
              href={api.downloadUrl(job.id, file.format)}
              download
              data-testid="download-file"
              data-format={file.format}
            >
              <Icon name="download" />
              {file.format}
            </a>
            <span class="grow muted small-text">{texts.model.formats[file.format] ?? file.name}</span>
            <span class="number">{file.bytes === null ? "" : size(file.bytes)}</span>
          </li>
        ))}
      </ul>
      <p class="muted small-text">{texts.model.exportedFrom(step)}</p>
      <h3>{texts.model.labels}</h3>
      <ol class="label-list" start={0}>
        {job.labels.map((label, index) => (
          <li key={label} class="chip">
            <span class="number muted">{index}</span> {label}
          </li>
        ))}
      </ol>
    </section>
  );
}

interface Offered {
  format: string;
  name: string;
  bytes: number | null;
}

/** The exported files and the list of labels, which the server has for each export. */
function withLabels(files: readonly ExportedFile[]): Offered[] {
  const labels = files.some((file) => file.format === "labels")
    ? []
    : [{ format: "labels", name: "labels.txt", bytes: null }];
  return [...files, ...labels];
}

function Code({ job }: { job: JobView }): JSX.Element | null {
  const { data: offer } = useStartingModels(job.train_frames);
  const [chosen, setChosen] = useState<Snippet["key"]>("ftc");
  const model = offer?.starting_models.find((each) => each.key === job.starting_model);
  const all = snippets(job, model?.input_size ?? 320);
  const shown = all.find((each) => each.key === chosen);
  if (shown === undefined) return null;
  return (
    <section class="card code-card" data-testid="snippets">
      <header class="code-head">
        <h2>{texts.code.title}</h2>
        <Segments
          label={texts.code.title}
          all={all.map((each) => each.key)}
          names={texts.code.names}
          chosen={chosen}
          onChoose={setChosen}
        />
      </header>
      <p class="muted small-text">{texts.code.notes[chosen]}</p>
      <div class="code">
        <span class="code-file">{shown.file}</span>
        <CopyButton text={shown.code} />
        <pre tabIndex={0}>{shown.code}</pre>
      </div>
    </section>
  );
}
