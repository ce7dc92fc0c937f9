/** In the place of React Native, which has no place in a test: whether the app is in front. */
const heard = new Set<(state: string) => void>();
export const AppState = {
  addEventListener(_: string, hear: (state: string) => void) {
    heard.add(hear);
    return { remove: () => void heard.delete(hear) };
  },
};
export const become = (state: string): void => {
  for (const hear of heard) hear(state);
};
export const listeners = (): number => heard.size;
