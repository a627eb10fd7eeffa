// Opens the page: one exam, or two that are followed up.

async function openExam(root) {
  const state = root.querySelector(".state");
  try {
    const block = (name) => root.querySelector(`script.${name}`);
    const data = JSON.parse(block("data").textContent);
    const [image, map] = await Promise.all(["image", "map"].map((name) => decodePng(block(name).textContent)));
    for (const name of ["image", "map"]) block(name).remove(); // some 20 MB of text
    const exam = new Exam(root, data, image, map);
    exam.viewer.draw();
    state.remove();
    root.dataset.opened = String(Math.round(performance.now())); // ms
    return exam;
  } catch (error) {
    state.textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  }
}

async function openPage() {
  const exams = await Promise.all([...document.querySelectorAll(".exam")].map(openExam));
  const followed = document.querySelector("script.followed");
  if (!followed || !exams.every(Boolean)) return;
  const main = document.querySelector("main");
  new FollowUp(main, JSON.parse(followed.textContent), ...exams);
  main.dataset.opened = String(Math.round(performance.now()));
}

openPage();
