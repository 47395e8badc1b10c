facts => {
  // Draws the structure that belongs to the point of the map under the mouse. The page must load plotly.js first.
  const map = document.getElementById(facts.map);

  // Decodes the cell vectors and the atoms from two-byte integers.
  const decode = text => {
    const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
    const values = Array.from(new Int16Array(bytes.buffer));
    const length = value => value * facts.resolution;
    const cell = [0, 3, 6].map(start => values.slice(start, start + 3).map(length));
    const atoms = [];
    for (let at = 9; at < values.length; at += 4) {
      atoms.push({number: values[at], position: values.slice(at + 1, at + 4).map(length)});
    }
    return {cell, atoms};
  };

  const along = (points, axis) => points.map(point => point && point[axis]);

  // Marker sizes are in pixels, so they decrease as the structure becomes larger.
  const drawElement = (atoms, number, span) => {
    const positions = atoms.filter(atom => atom.number === number).map(atom => atom.position);
    const element = facts.elements[number];
    const size = 110 * element.radius / Math.max(span, 8);
    const marker = {color: element.color, size, opacity: 1, line: {color: '#334155', width: 1}};
    return {
      type: 'scatter3d', mode: 'markers', name: element.symbol, hoverinfo: 'name', marker,
      x: along(positions, 0), y: along(positions, 1), z: along(positions, 2),
    };
  };

  // Draws the twelve edges of the cell as one line; null separates the edges.
  const drawCell = cell => {
    const corner = bits => [0, 1, 2].map(axis => bits.reduce((sum, bit, i) => sum + bit * cell[i][axis], 0));
    const points = [];
    for (let direction = 0; direction < 3; direction++) {
      for (const other of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const ends = [0, 1].map(bit => corner([...other.slice(0, direction), bit, ...other.slice(direction)]));
        points.push(...ends, null);
      }
    }
    return {
      type: 'scatter3d', mode: 'lines', showlegend: false, hoverinfo: 'skip', line: {color: '#64748b', width: 2},
      x: along(points, 0), y: along(points, 1), z: along(points, 2),
    };
  };

  const show = (layer, index, title) => {
    const {cell, atoms} = decode(facts.layers[layer][index]);
    const numbers = [...new Set(atoms.map(atom => atom.number))].sort((a, b) => a - b);
    const points = [...atoms.map(atom => atom.position), ...cell];
    const span = Math.max(...[0, 1, 2].map(axis => Math.max(...along(points, axis)) - Math.min(...along(points, axis))));
    const axis = {visible: false, showspikes: false};
    const scene = {aspectmode: 'data', xaxis: axis, yaxis: axis, zaxis: axis, camera: {projection: {type: 'orthographic'}}};
    Plotly.react(facts.view, [...numbers.map(number => drawElement(atoms, number, span)), drawCell(cell)], {
      title: {text: title, font: {size: 13}}, height: 380, margin: {l: 0, r: 0, t: 40, b: 0}, scene, uirevision: 'constant',
    });
  };

  const showPoint = point => show(point.data.name, point.pointNumber, point.text);
  map.on('plotly_hover', event => showPoint(event.points[0]));
  const first = map.data.find(trace => trace.x.length);
  if (first) { show(first.name, 0, first.text[0]); }
}
