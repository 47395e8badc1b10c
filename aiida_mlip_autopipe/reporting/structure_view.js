facts => {
  // Draws with plotly.js, which the page has, whatever structure is under the mouse on the map.
  const map = document.getElementById(facts.map);

  // The cell's three vectors and the atoms, from the two-byte numbers that they are kept in.
  const decode = text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const values = Array.from(new Int16Array(bytes.buffer));
    const length = value => value * facts.resolution;
    const cell = [0, 3, 6].map(start => values.slice(start, start + 3).map(length));
    const atoms = [];
    for (let at = 9; at < values.length; at += 4) {
      atoms.push({number: values[at], place: values.slice(at + 1, at + 4).map(length)});
    }
    return {cell, atoms};
  };

  const along = (points, axis) => points.map(point => point && point[axis]);

  // Markers have their size in pixels: of a larger structure they are smaller.
  const drawElement = (atoms, number, span) => {
    const places = atoms.filter(atom => atom.number === number).map(atom => atom.place);
    const element = facts.elements[number];
    const size = 110 * element.radius / Math.max(span, 8);
    const marker = {color: element.color, size, opacity: 1, line: {color: '#334155', width: 1}};
    return {
      type: 'scatter3d', mode: 'markers', name: element.symbol, hoverinfo: 'name', marker,
      x: along(places, 0), y: along(places, 1), z: along(places, 2),
    };
  };

  // The twelve edges of the cell as one line, which null interrupts.
  const drawCell = cell => {
    const corner = bits => [0, 1, 2].map(axis => bits.reduce((sum, bit, i) => sum + bit * cell[i][axis], 0));
    const points = [];
    for (let direction = 0; direction < 3; direction++) {
      for (const others of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const ends = [0, 1].map(bit => corner([...others.slice(0, direction), bit, ...others.slice(direction)]));
        points.push(...ends, null);
      }
    }
    return {
      type: 'scatter3d', mode: 'lines', showlegend: false, hoverinfo: 'skip', line: {color: '#64748b', width: 2},
      x: along(points, 0), y: along(points, 1), z: along(points, 2),
    };
  };

  const show = (layer, place, title) => {
    const {cell, atoms} = decode(facts.layers[layer][place]);
    const numbers = [...new Set(atoms.map(atom => atom.number))].sort((a, b) => a - b);
    const points = [...atoms.map(atom => atom.place), ...cell];
    const span = Math.max(...[0, 1, 2].map(axis => Math.max(...along(points, axis)) - Math.min(...along(points, axis))));
    const axis = {visible: false, showspikes: false};
    const scene = {aspectmode: 'data', xaxis: axis, yaxis: axis, zaxis: axis, camera: {projection: {type: 'orthographic'}}};
    Plotly.react(facts.view, [...numbers.map(number => drawElement(atoms, number, span)), drawCell(cell)], {
      title: {text: title, font: {size: 13}}, height: 380, margin: {l: 0, r: 0, t: 40, b: 0}, scene, uirevision: 'kept',
    });
  };

  const showPoint = point => show(point.data.name, point.pointNumber, point.text);
  map.on('plotly_hover', event => showPoint(event.points[0]));
  const first = map.data.find(trace => trace.x.length);
  if (first) { show(first.name, 0, first.text[0]); }
}
