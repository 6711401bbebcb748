/** The Operators page (role admin): trainers, the queue of the whole room, teams, and who did what. */
import type { JSX } from "preact";
import { hashOf, OPERATOR_TABS, type OperatorTab } from "../route";
import { texts } from "../texts";
import { usePage } from "./context";
import { AnnouncementsTab } from "./operators-announcements";
import { AuditTab } from "./operators-audit";
import { QueueTab } from "./operators-queue";
import { TeamsTab } from "./operators-teams";
import { TrainersTab } from "./operators-trainers";
import { TabBar } from "./tabs";

const TABS: Record<OperatorTab, () => JSX.Element> = {
  trainers: TrainersTab,
  queue: QueueTab,
  teams: TeamsTab,
  announcements: AnnouncementsTab,
  audit: AuditTab,
};

export function OperatorsPage({ tab }: { tab: OperatorTab }): JSX.Element {
  const { session } = usePage();
  const Tab = TABS[tab];
  return (
    <>
      <div class="page-head">
        <h1>{texts.operators.title}</h1>
        <p class="muted">{texts.operators.intro}</p>
      </div>
      {session !== null && session.role !== "admin" ? (
        <section class="card empty">
          <p>{texts.operators.only}</p>
        </section>
      ) : (
        <>
          <TabBar
            label={texts.operators.title}
            tabs={OPERATOR_TABS.map((each) => ({
              key: each,
              name: texts.operators.tabs[each],
              href: hashOf({ page: "operators", tab: each }),
            }))}
            current={tab}
          />
          <Tab />
        </>
      )}
    </>
  );
}
