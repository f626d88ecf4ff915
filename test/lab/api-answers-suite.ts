import { afterAll, beforeAll, describe } from 'vitest';
import { describeRefusals, describeWrites } from './api-answers-writes.ts';
import { describeDeletions, describeEvictions, describeLeases, describeLists } from './api-answers-objects.ts';
import { MERGE, type AnswerBed, type Asker } from './api-asker.ts';
import { ask } from './api-client.ts';

/** What clients rely on, asked of the lab's API and of a real server alike: codes, reasons and the words that matter. */
export function describeAnswers(name: string, makeBed: () => Promise<AnswerBed>): void {
  describe(`answers of ${name}`, () => {
    let bed: AnswerBed;
    const asker: Asker = {
      bed: () => bed,
      call: (method, path, given = {}) => ask(bed.endpoint, method, path, given),
      patched: (path, body, type = MERGE) => ask(bed.endpoint, 'PATCH', path, { body, type }),
    };
    beforeAll(async () => {
      bed = await makeBed();
      for (const namespace of ['shop', 'kube-system']) {
        await asker.call('POST', '/api/v1/namespaces', { body: { metadata: { name: namespace } } });
      }
    });
    afterAll(() => bed.close());

    for (const part of [describeRefusals, describeWrites, describeLeases]) part(asker);
    for (const part of [describeEvictions, describeDeletions, describeLists]) part(asker);
  });
}
